"""Whether a step takes part, and what its texts say: conditions and templates over values that are there by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from runner.errors import RunnerError
from runner.evidence.records import StepRecord
from runner.execution.values import Unusable, Value, Values, inputs_of
from runner.plan.models import PlannedInput, PlannedStep
from runner.spec.templates import TemplateError, holds, names_in, render

_WITHOUT_WORKSPACE = ("step", "steps", "experiment", "value")
"""Sources of inputs that a condition can know: a step has no workspace before it begins."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A step with its values found and its texts filled in."""

    step: PlannedStep
    """With the texts of prompt, call and approval as they are to be used."""
    inputs: tuple[Value, ...]
    item: Mapping[str, object] | None
    """`number` and `value` of the item it is for; None if it is for none."""


def left_out(step: PlannedStep, values: Values) -> str:
    """Return why a step's own condition, or the length of its list, leaves it out; empty if neither does.

    A condition that cannot be judged leaves nothing out: `make_ready` says what is wrong with it.

    Args:
        step: a step, all of whose dependencies have ended.
        values: what there is by now.
    """
    try:
        return _beyond(step, values) or _unmet(step, values)
    except (Unusable, TemplateError):
        return ""


def without_input(step: PlannedStep, values: Values) -> tuple[str, bool] | None:
    """Tell whether a step takes something that no step gave, because that one was itself left out or did not pass.

    Returns:
        The reason to skip it, and whether the skip counts for the run's outcome; None if everything is there.
    """
    for what, step_id, output in _wanted(step):
        record = values.records.get(step_id)
        if record is None or any(one.name == output for one in record.outputs):
            continue
        how = "was left out" if record.outcome == "skipped" else f"is {record.outcome.replace('_', ' ')}"
        return f"{what} is `{output}` of step {step_id}, which {how}", record.counts
    return None


def make_ready(step: PlannedStep, values: Values, workspace: Path | None) -> Ready:
    """Find a step's values and fill in its texts.

    Args:
        step: the step.
        values: what there is by now.
        workspace: the workspace as the step finds it; None if it sees none.

    Raises:
        Unusable: with the sentence why the step has failed before it began.
    """
    try:
        item = _item(step, values)
        _unmet(step, values)
        inputs = inputs_of(step, values, workspace)
        known = _known(inputs) | _places(item) | _fixed(values)
        return Ready(step=_filled(step, known), inputs=inputs, item=item)
    except TemplateError as error:
        raise Unusable(_sentence(error)) from None


def question(step: PlannedStep, values: Values) -> str:
    """Return what a person is asked by an approval.

    Raises:
        Unusable: if its text or its condition cannot be filled in.
    """
    ready = make_ready(step, values, None).step
    return ready.approval.message if ready.approval is not None else ready.title


def _wanted(step: PlannedStep) -> Sequence[tuple[str, str, str]]:
    """Return what a step takes from others: how to name it, the step and its output."""
    wanted = [(f"input `{one.name}`", one.step, one.output) for one in step.inputs if one.source == "step"]
    if step.item is not None and step.item.step:
        wanted.append(("its list", step.item.step, step.item.output))
    return wanted


def _beyond(step: PlannedStep, values: Values) -> str:
    """Return why there is no item for a step of a list that is known only now; the first step reports a long list."""
    items = _list_of(step, values)
    if items is None or step.item is None:
        return ""
    number, most = step.item.number, step.item.at_most
    if len(items) > most:
        return f"the list has {len(items)} items, more than at_most: {most}" if number > 1 else ""
    return f"the list has {len(items)} items only" if number > len(items) else ""


def _item(step: PlannedStep, values: Values) -> Mapping[str, object] | None:
    if step.item is None:
        return None
    items = _list_of(step, values)
    if items is None:
        return {"number": step.item.number, "value": step.item.value}
    if len(items) > step.item.at_most:
        raise Unusable(
            f"the list `{step.item.output}` of step {step.item.step} has {len(items)} items, "
            f"more than at_most: {step.item.at_most}"
        )
    if step.item.number > len(items):
        raise Unusable(f"the list `{step.item.output}` of step {step.item.step} has {len(items)} items only")
    return {"number": step.item.number, "value": items[step.item.number - 1]}


def _list_of(step: PlannedStep, values: Values) -> list[object] | None:
    """Return the list that a step's item is taken from; None if the item was known before the start."""
    if step.item is None or not step.item.step:
        return None
    found = values.given(step.item.step, step.item.output)
    if found is None:
        raise Unusable(f"its list is `{step.item.output}` of step {step.item.step}, which gave none")
    content = found.content
    if not isinstance(content, list):
        raise Unusable(f"`{step.item.output}` of step {step.item.step} is no list")
    return content


def _unmet(step: PlannedStep, values: Values) -> str:
    """Return which condition does not hold; empty if all do."""
    if not step.when:
        return ""
    inputs = [one for one in step.inputs if one.source in _WITHOUT_WORKSPACE and _is_there(one, values)]
    found = inputs_of(step.model_copy(update={"inputs": tuple(inputs)}), values, None)
    known = {
        "inputs": SimpleNamespace(**_known(found)),
        "steps": SimpleNamespace(**{name: _seen(record) for name, record in values.records.items()}),
        **_places(_item(step, values)),
        **_fixed(values),
    }
    unmet = next((one for one in step.when if not holds(one, known)), None)
    return f"its condition does not hold: {unmet}" if unmet is not None else ""


def _is_there(one: PlannedInput, values: Values) -> bool:
    return one.source != "step" or values.given(one.step, one.output) is not None


def _known(inputs: Sequence[Value]) -> dict[str, object]:
    """Return inputs as templates see them; bytes that are no text are known by name only."""
    return {one.name: one.content for one in inputs if one.type != "file" or _is_text(one)}


def _is_text(value: Value) -> bool:
    try:
        value.data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _places(item: Mapping[str, object] | None) -> dict[str, object]:
    return {"item": item["value"], "number": item["number"]} if item is not None else {}


def _fixed(values: Values) -> dict[str, object]:
    return {"seed": values.run.seed, "repetition": values.run.repetition}


def _seen(record: StepRecord) -> SimpleNamespace:
    return SimpleNamespace(outcome=record.outcome)


def _filled(step: PlannedStep, known: Mapping[str, object]) -> PlannedStep:
    changed: dict[str, object] = {}
    if step.template:
        changed |= {"prompt": _text(step.prompt, known, step), "template": False}
    if step.call is not None:
        texts = {name: _text(getattr(step.call, name), known, step) for name in ("prompt", "system")}
        changed["call"] = step.call.model_copy(update=texts)
    if step.approval is not None:
        message = _text(step.approval.message, known, step)
        changed["approval"] = step.approval.model_copy(update={"message": message})
    return step.model_copy(update=changed) if changed else step


def _text(template: str, known: Mapping[str, object], step: PlannedStep) -> str:
    binary = ({one.name for one in step.inputs} - known.keys()) & names_in(template)
    for name in sorted(binary):
        raise Unusable(f"input `{name}` is not UTF-8, so no text can have it in it")
    return render(template, known)


def _sentence(error: RunnerError) -> str:
    return f"{error.what}; {error.hint}" if error.hint else error.what
