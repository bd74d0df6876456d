"""Steps of a scenario as single ones: workflows put in, lists written out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.plan.flatten import Flat, Unplannable, flatten
from runner.spec.order import ancestors, predecessors
from runner.spec.scenario import ForEach, Input, Output, Scenario, Step, Workflow, WorkflowInput, WorkflowOutput

_GIVING = {"found": Output(stdout=True)}


def _step(name: str, **changes: Any) -> Step:
    return Step(id=name, prompt="Do.", **changes)


def _flat(*steps: Step, **workflows: Workflow) -> dict[str, Flat]:
    return {flat.id: flat for flat in flatten(Scenario(name="s", steps=steps), workflows)}


def _after(flats: dict[str, Flat]) -> dict[str, set[str]]:
    return {name: set(flat.depends_on) for name, flat in flats.items()}


def test_a_list_of_items_is_side_by_side_and_awaited_as_a_whole() -> None:
    """Each repetition is a step of its own with its item, and who waits for the step waits for all of them."""
    flats = _flat(_step("a"), _step("b", for_each=ForEach(items=("x", {"y": 1}))), _step("c"))
    assert _after(flats) == {"a": set(), "b.1": {"a"}, "b.2": {"a"}, "c": {"b.1", "b.2"}}
    items = [flat.item for flat in flats.values() if flat.item is not None]
    assert [(item.number, item.value) for item in items] == [(1, "x"), (2, {"y": 1})]


@pytest.mark.parametrize("changes", [{"repeat": 2}, {"for_each": ForEach(items=("x", "y"), one_by_one=True)}])
def test_repetitions_in_turn_are_a_chain(changes: dict[str, Any]) -> None:
    """Each waits for the one before it, and who waits for the step waits for the last."""
    flats = _flat(_step("a"), _step("b", **changes), _step("c"))
    assert _after(flats) == {"a": set(), "b.1": {"a"}, "b.2": {"b.1"}, "c": {"b.2"}}


def test_a_list_that_only_the_run_knows_has_room_for_the_most() -> None:
    """There is one step for each item that the list may have, and each knows where the list is."""
    flats = _flat(_step("a", outputs=_GIVING), _step("b", for_each=ForEach(step="a", output="found", at_most=2)))
    item = flats["b.2"].item
    assert item is not None
    assert (item.number, item.step, item.output, item.at_most, "b.3" in flats) == (2, "a", "found", 2, False)


def test_outputs_of_repetitions_are_gathered() -> None:
    """A step that takes the output of a repeated one gets the list of what all repetitions gave."""
    taking = _step("c", inputs={"all": Input(step="b", output="found")})
    (found,) = _flat(_step("b", repeat=2, outputs=_GIVING), taking)["c"].inputs
    assert (found.source, found.steps, found.output, found.type) == ("steps", ("b.1", "b.2"), "found", "list")


PART = Workflow(
    name="part",
    inputs={"names": WorkflowInput(type="list", default=["p", "q"]), "kind": WorkflowInput()},
    outputs={"report": WorkflowOutput(step="judge", output="found")},
    steps=(
        _step("each", for_each=ForEach(input="names"), inputs={"kind": Input(input="kind")}),
        _step("aside", depends_on=()),
        _step("judge", depends_on=("each",), when="steps['each.1'].outcome == 'passed'", outputs=_GIVING),
    ),
)


def _calling(name: str = "w", **changes: Any) -> Step:
    inputs = {"kind": Input(value="web")}
    return Step(id=name, **{"workflow": "part", "inputs": inputs} | changes)


def test_a_workflow_stands_in_its_steps_place() -> None:
    """First steps wait for what the caller waits for, last steps are awaited, and names are whole, in conditions too."""
    reading = _step("end", inputs={"report": Input(step="w", output="report")})
    flats = _flat(_step("a"), _calling(), reading, part=PART)
    assert _after(flats) == {
        "a": set(),
        "w.each.1": {"a"},
        "w.each.2": {"a"},
        "w.aside": {"a"},
        "w.judge": {"w.each.1", "w.each.2"},
        "end": {"w.aside", "w.judge"},
    }
    assert flats["w.judge"].when == ("steps['w.each.1'].outcome == 'passed'",)
    assert [(one.source, one.step) for one in flats["end"].inputs] == [("step", "w.judge")]
    assert [(one.source, one.value, one.type) for one in flats["w.each.1"].inputs] == [("value", "web", "text")]


def test_a_callers_condition_comes_with_what_it_asks_for() -> None:
    """Every step of the workflow has the caller's condition, and the caller's inputs and item under names of their own."""
    caller = _calling(
        for_each=ForEach(items=("x", "y")),
        inputs={"kind": Input(step="a", output="found")},
        when="inputs.kind == 'web' and item != 'y' and number < 3",
    )
    flat = _flat(_step("a", outputs=_GIVING), caller, part=PART)["w.1.judge"]
    assert flat.when == (
        "inputs['when_w_1_kind'] == 'web' and inputs['when_w_1_item'] != 'y' and inputs['when_w_1_number'] < 3",
        "steps['w.1.each.1'].outcome == 'passed'",
    )
    assert {one.name: one.step or one.value for one in flat.inputs} == {
        "when_w_1_kind": "a",
        "when_w_1_item": "x",
        "when_w_1_number": 1,
    }


def test_an_item_can_be_handed_to_a_workflow() -> None:
    """Each repetition of a workflow gets its own item as an input."""
    caller = _calling(for_each=ForEach(items=("x", "y")), inputs={"kind": Input(item=True)})
    flats = _flat(caller, part=PART)
    assert [flats[f"w.{number}.each.1"].inputs[0].value for number in (1, 2)] == ["x", "y"]


def test_workflows_use_workflows() -> None:
    """A value goes through two files to the step that uses it, and comes back."""
    outer = Workflow(
        name="outer",
        inputs={"names": WorkflowInput(type="list")},
        outputs={"report": WorkflowOutput(step="inner", output="report")},
        steps=(_calling("inner", inputs={"names": Input(input="names"), "kind": Input(value="cli")}),),
    )
    begin = _step("a", outputs={"found": Output(stdout=True, type="list")})
    call = Step(id="o", workflow="outer", inputs={"names": Input(step="a", output="found")})
    end = _step("end", inputs={"report": Input(step="o", output="report")})
    flats = _flat(begin, call, end, part=PART, outer=outer)
    item = flats["o.inner.each.16"].item
    assert item is not None
    assert (item.step, item.output) == ("a", "found")
    assert flats["end"].inputs[0].step == "o.inner.judge"


def test_names_that_meet_are_refused() -> None:
    """A repetition and a step of the file cannot have one name."""
    with pytest.raises(Unplannable, match=r"two steps would be called `a\.2`"):
        _flat(_step("a", repeat=2), _step("a.2"))


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[tuple[Step, ...], dict[str, Workflow]]:
    """Draw steps that wait for each other in any order of the file, some of them repeated, some of them workflows."""
    count = draw(st.integers(1, 7))
    names = [f"s{number}" for number in range(count)]
    hidden = draw(st.permutations(names))
    steps: list[Step] = []
    for name in names:
        before = hidden[: hidden.index(name)]
        named = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        shape: dict[str, Any] = draw(
            st.sampled_from(
                [
                    {},
                    {},
                    {"repeat": 2},
                    {"for_each": ForEach(items=(1, 2, 3))},
                    {"enabled": False},
                    {"workflow": "inner"},
                ]
            )
        )
        deed = {} if "workflow" in shape else {"prompt": "Do."}
        steps.append(Step(id=name, depends_on=tuple(named), **deed, **shape))
    disabled = {step.id for step in steps if not step.enabled}
    kept = [
        step.model_copy(update={"depends_on": tuple(one for one in step.depends_on or () if one not in disabled)})
        for step in steps
    ]
    return tuple(kept), {"inner": draw(_inner())}


@st.composite
def _inner(draw: st.DrawFn) -> Workflow:
    groups = draw(st.lists(st.sampled_from([None, "g"]), min_size=1, max_size=3))
    while groups.count("g") and "g" in groups[groups.index("g") + 1 :] and None in groups[groups.index("g") :]:
        groups.pop()
    steps = tuple(_step(f"i{number}", parallel_group=group) for number, group in enumerate(groups))
    return Workflow(name="inner", steps=steps)


@given(_graphs())
def test_flattening_keeps_every_order_and_invents_none(drawn: tuple[tuple[Step, ...], dict[str, Workflow]]) -> None:
    """Each step comes after all it waits for, in the order of the file otherwise; nothing waits for anything else."""
    steps, workflows = drawn
    if not any(step.enabled for step in steps):
        return
    flats = flatten(Scenario(name="s", steps=steps), workflows)
    places = {flat.id: place for place, flat in enumerate(flats)}
    assert len(places) == len(flats)
    assert all(places[one] < places[flat.id] for flat in flats for one in flat.depends_on)
    written = ancestors(predecessors(steps))
    found = ancestors({flat.id: flat.depends_on for flat in flats})
    owner = {flat.id: flat.id.partition(".")[0] for flat in flats}
    for flat in flats:
        others = {one for one in found[flat.id] if owner[one] != owner[flat.id]}
        assert others == {one for one in owner if owner[one] in written[owner[flat.id]]}
    if all(places_of(steps)[one] < number for number, step in enumerate(steps) for one in step.depends_on or ()):
        numbers = [int(owner[flat.id][1:]) for flat in flats]
        assert numbers == sorted(numbers)


def places_of(steps: tuple[Step, ...]) -> dict[str, int]:
    """Return the position of each step in its file."""
    return {step.id: number for number, step in enumerate(steps)}
