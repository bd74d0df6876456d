"""Check templates and conditions: that they can be read, and that each name in them leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

from runner.spec.complaints import Complaint, choose_from
from runner.spec.order import ancestors, predecessors
from runner.spec.page import Page, is_repeated
from runner.spec.scenario import RetriedOutcome, Step
from runner.spec.templates import Reference, TemplateError, holds, names_in, references_in
from runner.spec.value_checks import names_known_to

_OUTCOMES = ("passed", "cancelled", "skipped", *get_args(RetriedOutcome))
"""What a step can come to, which a condition compares with."""
_OUTCOME = 3
"""Parts of a reference to a step's outcome: `steps`, the step, `outcome`."""


def check_expressions(page: Page) -> Iterator[Complaint]:
    """Yield what is wrong with the templates and conditions of a file's enabled steps, whose order is fine."""
    earlier = ancestors(predecessors(page.steps))
    for number, step in page.enabled():
        for path, text in _templates(step):
            yield from _check_template(step, text, ".".join(path), page.where(number, *path))
        if step.when is not None:
            yield from _check_condition(page, number, step.when, earlier[step.id])


def is_template(step: Step) -> bool:
    """Tell whether a step's prompt is a template; one that nothing is given to is text as it stands."""
    return bool(step.inputs) or is_repeated(step)


def _templates(step: Step) -> Iterator[tuple[tuple[str, ...], str]]:
    if step.prompt is not None and is_template(step):
        yield ("prompt",), step.prompt
    if step.model is not None:
        yield ("model", "prompt"), step.model.prompt
        yield ("model", "system"), step.model.system
    if step.approval is not None:
        yield ("approval", "message"), step.approval.message


def _check_template(step: Step, text: str, key: str, where: str) -> Iterator[Complaint]:
    known = names_known_to(step)
    try:
        names = names_in(text)
    except TemplateError as error:
        yield Complaint(what=f"{key}: {error.what}", where=where, hint=error.hint)
        return
    for name in sorted(names - known.keys()):
        hint = choose_from(name, known) + "; inputs of the step are added below `inputs`"
        yield Complaint(what=f"{key}: `{name}` is undefined in the template", where=where, hint=hint)


def _check_condition(page: Page, number: int, expression: str, earlier: frozenset[str]) -> Iterator[Complaint]:
    step, where = page.steps[number], page.where(number, "when")
    try:
        references = references_in(expression)
        never = not references and not holds(expression, {})
    except TemplateError as error:
        yield Complaint(what=f"when: {error.what}", where=where, hint=_compared(expression) or error.hint)
        return
    if never:
        hint = "write enabled: false, or mend the condition"
        yield Complaint(
            what=f"when: `{expression}` is never true, so `{step.id}` would never run", where=where, hint=hint
        )
    known = {"inputs", "steps", "seed", "repetition"} | ({"item", "number"} if is_repeated(step) else set())
    for reference in references:
        if reference[0] not in known:
            name = reference[0]
            hint = f"text stands in quotes: '{name}'" if name in _OUTCOMES else choose_from(name, known)
            yield Complaint(what=f"when: `{name}` is undefined", where=where, hint=hint)
        elif reference[0] == "inputs":
            yield from _check_input(step, reference, where)
        elif reference[0] == "steps":
            yield from _check_outcome(page, step, reference, earlier, where)


def _compared(expression: str) -> str:
    """Return what to write instead of a comparison with a single equals sign; empty if there is none."""
    mended = re.sub(r"(?<![=!<>])=(?!=)", "==", expression)
    if mended == expression:
        return ""
    return "write " + re.sub(rf"== *({'|'.join(_OUTCOMES)})\b", r"== '\1'", mended)


def _check_input(step: Step, reference: Reference, where: str) -> Iterator[Complaint]:
    name = reference[1] if len(reference) > 1 else ""
    if name not in step.inputs:
        hint = choose_from(name, step.inputs, "the step has none")
        yield Complaint(
            what=f"when: there is no input `{name}`" if name else "when: which input?", where=where, hint=hint
        )
    elif step.inputs[name].workspace is not None:
        what = f"when: the input `{name}` is in the workspace, which is not looked at before the step begins"
        yield Complaint(what=what, where=where, hint="let an earlier step give it as an output")


def _check_outcome(
    page: Page, step: Step, reference: Reference, earlier: frozenset[str], where: str
) -> Iterator[Complaint]:
    name = reference[1] if len(reference) > 1 else ""
    enabled = {one.id: one for _, one in page.enabled()}
    # A repetition or a step of a workflow stands under its whole name, `<step>.<inner>`.
    owner = name if name in enabled else _owner(name, enabled)
    if owner not in enabled:
        hint = choose_from(name, earlier, "it waits for no step")
        if any(not one.isidentifier() for one in earlier):
            hint += "; an id with dashes or dots is written like steps['a-b'].outcome"
        yield Complaint(
            what=f"when: there is no step `{name}`" if name else "when: which step?", where=where, hint=hint
        )
    elif owner not in earlier:
        what = f"when: `{step.id}` looks at `{owner}` and does not wait for it"
        yield Complaint(what=what, where=where, hint=f"add `{owner}` to the depends_on of `{step.id}`")
    elif owner == name and (is_repeated(enabled[owner]) or enabled[owner].workflow is not None):
        what = f"when: the step `{name}` stands for several, so it has no outcome of its own"
        inner = "1" if is_repeated(enabled[owner]) else "inner"
        yield Complaint(what=what, where=where, hint=f"name one of them, like steps['{name}.{inner}'].outcome")
    elif len(reference) < _OUTCOME or reference[2] != "outcome":
        what = f"when: of a step only its outcome can be asked for, `{'.'.join(reference)}` is none"
        yield Complaint(what=what, where=where, hint=f"write steps['{name}'].outcome == 'passed'")


def _owner(name: str, enabled: dict[str, Step]) -> str:
    """Return the step of this file that a longer name belongs to: the longest that it begins with."""
    fitting = [one for one in enabled if name.startswith(f"{one}.")]
    return max(fitting, key=len, default="")
