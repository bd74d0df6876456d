"""Check the values that steps pass to each other: that they exist, come early enough, and are of the type that is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from runner.spec.complaints import Complaint, choose_from
from runner.spec.order import ancestors, predecessors
from runner.spec.page import Page, is_repeated, outputs_of
from runner.spec.scenario import CannedAnswer, ForEach, Input, Step, ValueType, Workflow

NUMBERS = frozenset({"repetition", "seed"})
"""Values of the experiment that are numbers; the others are text."""
_JSON_TYPES: tuple[tuple[type, ValueType], ...] = (
    (bool, "boolean"),
    (int, "number"),
    (float, "number"),
    (str, "text"),
    (list, "list"),
    (dict, "object"),
)


def check_values(page: Page) -> Iterator[Complaint]:
    """Yield what is wrong with the inputs, lists and answers of a file's enabled steps, whose order is fine."""
    earlier = ancestors(predecessors(page.steps))
    for number, step in page.enabled():
        for name, given in step.inputs.items():
            yield from _check_input(page, number, name, given, earlier[step.id])
        if step.for_each is not None:
            yield from _check_list(page, number, step.for_each, earlier[step.id])
        if step.workflow is not None and step.workflow in page.workflows:
            yield from _check_call(page, number, page.workflows[step.workflow])
        yield from check_answers(page, step.answers, ("steps", number, "answers"))


def check_answers(page: Page, answers: tuple[CannedAnswer, ...], path: tuple[str | int, ...]) -> Iterator[Complaint]:
    """Yield a complaint for each question that is no regular expression."""
    for place, answer in enumerate(answers):
        try:
            re.compile(answer.question or "")
        except re.error as error:
            what = f"question: `{answer.question}` is no regular expression: {error}"
            hint = "write a backslash before characters that mean something else, like \\( and \\?"
            yield Complaint(what=what, where=page.located.where((*path, place, "question")), hint=hint)


def fits(found: ValueType, wanted: ValueType) -> bool:
    """Tell whether a value of one type can be one of another; of JSON, only what it holds can tell."""
    if wanted in {found, "file"}:
        return True
    return found != "file" if wanted == "json" else found == "json"


def type_of(value: JsonValue) -> ValueType:
    """Return the type of a value that is written out."""
    return next((name for kind, name in _JSON_TYPES if isinstance(value, kind)), "json")


def input_type(page: Page, step: Step, given: Input) -> ValueType:
    """Return the type of an input's source; of one that leads nowhere, or that only a run can tell, `json`."""
    source: ValueType = "json"
    if given.step is not None:
        source = _source_type(page, given.step, given.output) or "json"
    elif given.workspace is not None:
        source = given.type or "text"
    elif given.experiment is not None:
        source = "number" if given.experiment in NUMBERS else "text"
    elif given.input is not None:
        source = page.takes[given.input].type if given.input in page.takes else "json"
    elif given.value is not None:
        source = type_of(given.value)
    elif step.repeat is not None:
        source = "number"
    elif step.for_each is not None and step.for_each.items is not None:
        kinds = {type_of(item) for item in step.for_each.items}
        source = kinds.pop() if len(kinds) == 1 else "json"
    return source


def _source_type(page: Page, source: str, output: str | None) -> ValueType | None:
    step = next((one for one in page.steps if one.id == source), None)
    return outputs_of(step, page.workflows).get(output or "") if step is not None else None


def _check_input(page: Page, number: int, name: str, given: Input, earlier: frozenset[str]) -> Iterator[Complaint]:
    step = page.steps[number]
    where = page.where(number, "inputs", name)
    what = f"the input `{name}` of `{step.id}`"
    complaints: list[Complaint] = []
    if given.step is not None:
        complaints += _check_source(page, number, ("inputs", name), (given.step, given.output or ""), earlier)
    if given.input is not None:
        complaints += _check_taken(page, given.input, page.where(number, "inputs", name, "input"))
    if given.item and (not is_repeated(step) or (step.for_each is not None and step.for_each.items is None)):
        hint = "write the list as for_each.items; the item of any list is `item` in templates and /in/step.json"
        complaints.append(
            Complaint(what=f"{what} is an item that is not known before the start", where=where, hint=hint)
        )
    yield from complaints
    found = input_type(page, step, given)
    if not complaints and given.type is not None and not fits(found, given.type):
        yield Complaint(
            what=f"{what} is to be of type {given.type}, and its source gives {found}",
            where=page.where(number, "inputs", name, "type"),
            hint="mend the type here, or where the value is given",
        )


def _check_source(
    page: Page, number: int, path: tuple[str, ...], source: tuple[str, str], earlier: frozenset[str]
) -> Iterator[Complaint]:
    """Yield a complaint if an output of an earlier step is none, or of a step that need not have ended."""
    name, output = source
    step = page.steps[number]
    found = next((one for one in page.steps if one.id == name), None)
    where = page.where(number, *path, "step")
    if found is None or not found.enabled:
        known = [one.id for _, one in page.enabled() if outputs_of(one, page.workflows) and one.id != step.id]
        what = f"there is no step `{name}`" if found is None else f"the step `{name}` is disabled"
        hint = choose_from(name, known, "no step gives an output")
        yield Complaint(what=f"{path[0]}: {what}", where=where, hint=hint)
    elif name not in earlier:
        what = f"{path[0]}: `{step.id}` takes a value of `{name}` and does not wait for it"
        hint = f"add `{name}` to the depends_on of `{step.id}`" if name != step.id else "a step cannot wait for itself"
        yield Complaint(what=what, where=where, hint=hint)
    elif output not in (given := outputs_of(found, page.workflows)) and _is_known(page, found):
        what = f"{path[0]}: the step `{name}` gives no output `{output}`"
        hint = choose_from(output, given, f"it gives none; add it to the outputs of `{name}`")
        yield Complaint(what=what, where=page.where(number, *path, "output"), hint=hint)


def _is_known(page: Page, step: Step) -> bool:
    """Tell whether what a step gives is known; of a workflow that could not be loaded it is not."""
    return step.workflow is None or step.workflow in page.workflows


def _check_taken(page: Page, name: str, where: str) -> Iterator[Complaint]:
    if name not in page.takes:
        hint = choose_from(name, page.takes, "only a workflow has inputs of its own, below its top-level `inputs`")
        yield Complaint(what=f"there is no input `{name}`", where=where, hint=hint)


def _check_list(page: Page, number: int, each: ForEach, earlier: frozenset[str]) -> Iterator[Complaint]:
    step = page.steps[number]
    found: ValueType | None = None
    if each.step is not None:
        yield from _check_source(page, number, ("for_each",), (each.step, each.output or ""), earlier)
        found = _source_type(page, each.step, each.output)
        source = next((one for one in page.steps if one.id == each.step), None)
        if source is not None and is_repeated(source):
            what = f"for_each: the step `{source.id}` is repeated itself, so its outputs are no single list"
            hint = "let a step take them as an input and give one list"
            yield Complaint(what=what, where=page.where(number, "for_each", "step"), hint=hint)
            return
        if step.kind == "workflow":
            what = "for_each: a workflow can be repeated only over a list that is known before the start"
            hint = "write the list as `items`, or repeat a step inside the workflow"
            yield Complaint(what=what, where=page.where(number, "for_each"), hint=hint)
    elif each.input is not None:
        yield from _check_taken(page, each.input, page.where(number, "for_each", "input"))
        found = page.takes[each.input].type if each.input in page.takes else None
    if found is not None and not fits(found, "list"):
        what = f"for_each: it needs a list, and its source gives {found}"
        yield Complaint(what=what, where=page.where(number, "for_each"), hint="give the source the type list")


def _check_call(page: Page, number: int, workflow: Workflow) -> Iterator[Complaint]:
    step = page.steps[number]
    for name, given in step.inputs.items():
        where = page.where(number, "inputs", name)
        if name not in workflow.inputs:
            what = f"the workflow `{workflow.name}` takes no input `{name}`"
            yield Complaint(what=what, where=where, hint=choose_from(name, workflow.inputs, "it takes none"))
            continue
        found, wanted = given.type or input_type(page, step, given), workflow.inputs[name].type
        if not fits(found, wanted):
            what = f"the workflow `{workflow.name}` takes `{name}` as {wanted}, and its source gives {found}"
            yield Complaint(what=what, where=where, hint="mend the type here, or in the workflow's file")
    missing = [name for name, one in workflow.inputs.items() if name not in step.inputs and not has_default(one)]
    if missing:
        what = f"the workflow `{workflow.name}` needs the input{'s' * (len(missing) > 1)} {', '.join(missing)}"
        hint = f"add to `{step.id}`: inputs: {{{missing[0]}: {{value: ...}}}}"
        yield Complaint(what=what, where=page.where(number, "workflow"), hint=hint)


def has_default(declared: object) -> bool:
    """Tell whether an input of a workflow may be left out."""
    return "default" in getattr(declared, "model_fields_set", ())


def names_known_to(step: Step) -> Mapping[str, str]:
    """Return the names that a step's texts may use, each with what it is."""
    found = dict.fromkeys(step.inputs, "an input") | {"seed": "a number", "repetition": "a number"}
    return found | ({"item": "the item", "number": "its number, from 1"} if is_repeated(step) else {})
