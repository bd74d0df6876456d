"""Turn a scenario's steps into single ones: workflows put in, lists written out, every name in full.

A step of a workflow is called `<step>.<inner>`, a repetition `<step>.<number>`. What stands in a workflow's place: its
first steps wait for what the calling step waits for, and who waits for the calling step waits for its last steps, those
that no other step of the workflow waits for. Pure: what the files say has been checked before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from pydantic import JsonValue

from runner.errors import ConfigError
from runner.plan.models import PlannedInput, PlannedItem
from runner.spec.models import LimitsPatch
from runner.spec.order import in_order, predecessors
from runner.spec.scenario import CannedAnswer, ForEach, Input, Scenario, Step, ValueType, Workflow
from runner.spec.templates import references_in, renamed
from runner.spec.value_checks import NUMBERS, type_of

MOST_STEPS = 10_000
"""No run has more steps: more is a slip of the pen in a list of lists."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a step was written."""

    number: int
    """0-based position in its file."""
    workflow: str = ""
    """Workflow whose file that is; empty: the scenario's."""


class Unplannable(ConfigError):
    """A step cannot be planned as it is written.

    Args:
        what: why, in a sentence.
        origin: the step.
        key: key of it that is to blame.
        hint: what to write instead.
    """

    def __init__(self, what: str, origin: Origin, key: str, *, hint: str) -> None:
        super().__init__(what, hint=hint)
        self.origin = origin
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Flat:
    """A single step, with everything that its surroundings say about it."""

    id: str
    step: Step
    origin: Origin
    depends_on: tuple[str, ...]
    """Steps it waits for, in no order."""
    inputs: tuple[PlannedInput, ...]
    when: tuple[str, ...]
    item: PlannedItem | None
    limits: tuple[LimitsPatch, ...]
    """Of the steps whose workflow it is out of, the outermost first."""
    answers: tuple[CannedAnswer, ...]


def flatten(scenario: Scenario, workflows: Mapping[str, Workflow] = MappingProxyType({})) -> tuple[Flat, ...]:
    """Return a scenario's enabled steps as single ones, each after all it waits for, otherwise in the order of the file.

    Args:
        scenario: a scenario that was loaded.
        workflows: every workflow it uses, at any depth, by name.

    Raises:
        Unplannable: if there would be too many steps, two of one name, or a list that cannot be followed.
    """
    flats = {}
    for flat in _expanded(scenario.steps, _Scope(workflows=workflows, answers=scenario.answers)).flats:
        if flat.id in flats:
            what = f"two steps would be called `{flat.id}`"
            raise Unplannable(what, flat.origin, "id", hint="give this one another id")
        flats[flat.id] = flat
    return tuple(flats[name] for name in in_order({name: flat.depends_on for name, flat in flats.items()}))


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """What the steps of one file are given by whoever uses the file."""

    workflows: Mapping[str, Workflow]
    answers: tuple[CannedAnswer, ...]
    name: str = ""
    """Workflow whose steps these are."""
    prefix: str = ""
    """What comes before the ids of its steps."""
    after: tuple[str, ...] = ()
    """What its first steps wait for."""
    bindings: Mapping[str, PlannedInput] = field(default_factory=dict)
    """The workflow's inputs, by name."""
    when: tuple[str, ...] = ()
    when_inputs: tuple[PlannedInput, ...] = ()
    """Values that only `when` asks for."""
    limits: tuple[LimitsPatch, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where an output can be had."""

    steps: tuple[str, ...]
    output: str
    type: ValueType
    gathered: bool = False
    """Whether it is the list of what all these steps give."""


@dataclass(frozen=True, kw_only=True)
class _Expanded:
    """The single steps that stand in one step's place, or in a whole file's."""

    flats: tuple[Flat, ...]
    ends: tuple[str, ...]
    """The last ones: who waits for all of them waits for these."""
    sources: Mapping[str, _Source] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Node:
    """A step of a file that is about to be replaced by single ones."""

    step: Step
    name: str
    """Its whole name."""
    origin: Origin
    after: tuple[str, ...]
    """What it waits for."""
    scope: _Scope
    done: Mapping[str, _Expanded]
    """What stands in the place of the steps before it in its file."""
    item: PlannedItem | None = None


def _expanded(steps: Sequence[Step], scope: _Scope) -> _Expanded:
    """Return the single steps of a file."""
    needed = predecessors(steps)
    by_id = {step.id: (number, step) for number, step in enumerate(steps) if step.enabled}
    done: dict[str, _Expanded] = {}
    total = 0
    for name in in_order(needed):
        number, step = by_id[name]
        origin = Origin(number=number, workflow=scope.name)
        after = tuple(one for before in needed[name] for one in done[before].ends) if needed[name] else scope.after
        whole = scope.prefix + name
        done[name] = _one_or_many(_Node(step=step, name=whole, origin=origin, after=after, scope=scope, done=done))
        total += len(done[name].flats)
        if total > MOST_STEPS:
            what = f"with `{step.id}` the scenario has more than {MOST_STEPS:,} steps"
            raise Unplannable(what, origin, "id", hint="repeat less")
    awaited = {before for named in needed.values() for before in named}
    return _Expanded(
        flats=tuple(flat for name in needed for flat in done[name].flats),
        ends=tuple(end for name in needed if name not in awaited for end in done[name].ends),
        sources={f"{name}/{output}": source for name in needed for output, source in done[name].sources.items()},
    )


def _one_or_many(node: _Node) -> _Expanded:
    """Return what stands in a step's place: itself, its workflow, or its repetitions."""
    step = node.step
    if step.for_each is None and step.repeat is None:
        return _once(node)
    chained = step.for_each is None or step.for_each.one_by_one
    found: list[_Expanded] = []
    for item in _items(node):
        before = found[-1].ends if chained and found else node.after
        found.append(_once(replace(node, name=f"{node.name}.{item.number}", after=before, item=item)))
        if len(found[-1].flats) * len(found) > MOST_STEPS:
            what = f"`{step.id}` would stand for more than {MOST_STEPS:,} steps"
            raise Unplannable(what, node.origin, "id", hint="repeat less")
    last = found[-1:] if chained else found
    return _Expanded(
        flats=tuple(flat for one in found for flat in one.flats),
        ends=tuple(end for one in last for end in one.ends),
        sources={output: _gathered(found, output, node) for output in found[0].sources},
    )


def _gathered(found: Sequence[_Expanded], output: str, node: _Node) -> _Source:
    sources = [one.sources[output] for one in found]
    if any(source.gathered for source in sources):
        what = f"the output `{output}` of `{node.step.id}` would be a list of lists of several steps"
        hint = "let a step inside the workflow gather its list into one value"
        raise Unplannable(what, node.origin, "id", hint=hint)
    steps = tuple(source.steps[0] for source in sources)
    return _Source(steps=steps, output=sources[0].output, type="list", gathered=True)


def _items(node: _Node) -> Iterator[PlannedItem]:
    """Yield the items that a step is repeated for."""
    each = node.step.for_each
    if each is None:
        yield from (PlannedItem(number=number, value=number) for number in range(1, (node.step.repeat or 0) + 1))
        return
    given = _list_of(each, node)
    if isinstance(given, _Source):
        for number in range(1, each.at_most + 1):
            yield PlannedItem(number=number, step=given.steps[0], output=given.output, at_most=each.at_most)
    else:
        yield from (PlannedItem(number=number, value=item) for number, item in enumerate(given, 1))


def _list_of(each: ForEach, node: _Node) -> Sequence[JsonValue] | _Source:
    """Return the items if they are known, else the one output that they are in."""
    if each.items is not None:
        return each.items
    if each.step is not None:
        source = node.done[each.step].sources[each.output or ""]
        if not source.gathered:
            return source
    binding = node.scope.bindings.get(each.input or "")
    if binding is not None and binding.source == "step" and node.step.workflow is None:
        return _Source(steps=(binding.step,), output=binding.output, type="list")
    if binding is not None and binding.source == "value" and isinstance(binding.value, list) and binding.value:
        return binding.value
    what = f"for_each: the list of `{node.step.id}` is neither written out nor the output of a single step"
    hint = "give the workflow a list with at least one item, or such an output"
    raise Unplannable(what, node.origin, "for_each", hint=hint)


def _once(node: _Node) -> _Expanded:
    """Return a step, or the workflow in its place, for one item or none."""
    step, scope = node.step, node.scope
    inputs = tuple(_input(key, given, node) for key, given in sorted(step.inputs.items()))
    own = _renamed_steps(step.when, scope.prefix) if step.when is not None else ""
    if step.workflow is not None:
        return _called(node, inputs, own)
    flat = Flat(
        id=node.name,
        step=step,
        origin=node.origin,
        depends_on=node.after,
        inputs=(*inputs, *scope.when_inputs),
        when=(*scope.when, *((own,) if own else ())),
        item=node.item,
        limits=scope.limits,
        answers=step.answers or scope.answers,
    )
    types = {key: output.type for key, output in step.outputs.items()}
    if step.model is not None:
        types[step.model.output] = step.model.type
    sources = {key: _Source(steps=(node.name,), output=key, type=kind) for key, kind in types.items()}
    return _Expanded(flats=(flat,), ends=(node.name,), sources=sources)


def _called(node: _Node, inputs: Iterable[PlannedInput], when: str) -> _Expanded:
    """Return the steps of the workflow that a step calls."""
    scope = node.scope
    workflow = scope.workflows[node.step.workflow or ""]
    given = {one.name: one for one in inputs}
    condition, asked = _for_inner(when, node, given) if when else ("", ())
    inner = replace(
        scope,
        name=workflow.name,
        prefix=f"{node.name}.",
        after=node.after,
        bindings={key: _bound(key, workflow, given) for key in workflow.inputs},
        when=(*scope.when, *((condition,) if condition else ())),
        when_inputs=(*scope.when_inputs, *asked),
        limits=(*scope.limits, node.step.limits),
        answers=node.step.answers or scope.answers,
    )
    expanded = _expanded(workflow.steps, inner)
    sources = {key: expanded.sources[f"{one.step}/{one.output}"] for key, one in workflow.outputs.items()}
    return replace(expanded, sources=sources)


def _bound(name: str, workflow: Workflow, given: Mapping[str, PlannedInput]) -> PlannedInput:
    declared = workflow.inputs[name]
    if name in given:
        return given[name].model_copy(update={"type": declared.type})
    return PlannedInput(name=name, source="value", value=declared.default, type=declared.type)


def _input(name: str, given: Input, node: _Node) -> PlannedInput:
    """Return a step's input with its source in full, and the type that it has or has to be."""
    if given.step is not None:
        source = node.done[given.step].sources[given.output or ""]
        kind: ValueType = given.type or source.type
        if source.gathered:
            return PlannedInput(name=name, source="steps", steps=source.steps, output=source.output, type=kind)
        return PlannedInput(name=name, source="step", step=source.steps[0], output=source.output, type=kind)
    if given.workspace is not None:
        return PlannedInput(name=name, source="workspace", workspace=given.workspace, type=given.type or "text")
    if given.experiment is not None:
        kind = given.type or ("number" if given.experiment in NUMBERS else "text")
        return PlannedInput(name=name, source="experiment", experiment=given.experiment, type=kind)
    if given.input is not None:
        binding = node.scope.bindings[given.input]
        return binding.model_copy(update={"name": name, "type": given.type or binding.type})
    value = node.item.value if given.item and node.item is not None else given.value
    return PlannedInput(name=name, source="value", value=value, type=given.type or type_of(value))


def _renamed_steps(expression: str, prefix: str) -> str:
    """Return a condition in which every step has its whole name."""
    if not prefix:
        return expression
    named = {one[:2] for one in references_in(expression) if one[0] == "steps"}
    return renamed(expression, {one: ("steps", prefix + one[1]) for one in named})


def _for_inner(expression: str, node: _Node, given: Mapping[str, PlannedInput]) -> tuple[str, tuple[PlannedInput, ...]]:
    """Return the condition of a calling step for the workflow's steps, and the values they need for it.

    The calling step's own inputs and item mean nothing inside the workflow, so they come along under other names.
    """
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    asked: dict[str, PlannedInput] = {}
    slug = re.sub("[^a-z0-9_]", "_", node.name)
    for one in references_in(expression):
        if one[0] == "inputs":
            part, source = one[1], given[one[1]]
        elif one[0] in {"item", "number"} and node.item is not None:
            value = node.item.value if one[0] == "item" else node.item.number
            part, source = one[0], PlannedInput(name="", source="value", value=value, type=type_of(value))
        else:
            continue
        key = f"when_{slug}_{part}"
        names[one[: 2 if one[0] == "inputs" else 1]] = ("inputs", key)
        asked[key] = source.model_copy(update={"name": key})
    return renamed(expression, names), tuple(asked.values())
