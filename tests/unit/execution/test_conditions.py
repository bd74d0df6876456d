"""Whether a step takes part, and what its texts say, from what earlier steps gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.fake_world import World

from runner.evidence.layout import RunLayout
from runner.execution.conditions import left_out, make_ready, question, without_input
from runner.execution.step import skip_step
from runner.execution.values import Unusable, Value, Values, keep_values, make_value
from runner.plan.models import PlannedApproval, PlannedCall, PlannedInput, PlannedItem, PlannedStep


@pytest.fixture
def values(world: World) -> Values:
    """Return the values of a run in which `begin` passed and gave `names` and `raw`, and `side` was left out."""
    run, layout = world.run, RunLayout(world.output / "run")
    given = [make_value("names", ["a", "b"], "list", ""), Value(name="raw", type="file", data=b"\xff")]
    begin = skip_step(run, run.steps[0], "").record.model_copy(
        update={"outcome": "passed", "outputs": keep_values(layout.step(1).given, given, "outputs")}
    )
    side = begin.model_copy(update={"outcome": "skipped", "counts": False, "outputs": ()})
    return Values(layout, run, {"begin": begin, "side": side, "a.1": begin})


def _step(world: World, **changes: Any) -> PlannedStep:
    return world.run.steps[1].model_copy(update=changes)


NAMES = PlannedInput(name="names", source="step", step="begin", output="names", type="list")


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        (("inputs.names | length == 2", "steps.begin.outcome == 'passed'"), ""),
        (("steps['a.1'].outcome != 'failed' and repetition == 1",), ""),
        (("steps.side.outcome == 'passed'",), "its condition does not hold: steps.side.outcome == 'passed'"),
        (("true", "'c' in inputs.names"), "its condition does not hold: 'c' in inputs.names"),
        (("seed < 0",), "its condition does not hold: seed < 0"),
    ],
)
def test_conditions_are_judged_by_what_is_there(
    world: World, values: Values, when: tuple[str, ...], reason: str
) -> None:
    """All of a step's conditions must hold over inputs, outcomes, seed and repetition; the first that does not is named."""
    assert left_out(_step(world, when=when, inputs=(NAMES,)), values) == reason


def test_a_condition_that_cannot_be_judged_fails_the_step(world: World, values: Values) -> None:
    """An undefined name leaves nothing out: the step is begun and ends with the name in a sentence."""
    step = _step(world, when=("inputs.nothing == 1",), inputs=(NAMES,))
    assert left_out(step, values) == ""
    with pytest.raises(Unusable, match="nothing"):
        make_ready(step, values, None)


@pytest.mark.parametrize(
    ("number", "at_most", "reason"),
    [
        (2, 5, ""),
        (3, 5, "the list has 2 items only"),
        (1, 1, ""),
        (2, 1, "the list has 2 items, more than at_most: 1"),
    ],
)
def test_a_list_known_late_decides_how_many_take_part(
    world: World, values: Values, number: int, at_most: int, reason: str
) -> None:
    """Steps beyond the end of the list are left out; of a list that is too long, all but the first, which fails."""
    item = PlannedItem(number=number, step="begin", output="names", at_most=at_most)
    assert left_out(_step(world, item=item), values) == reason


def test_a_list_that_is_too_long_fails_its_first_step(world: World, values: Values) -> None:
    """The sentence says how long the list is and how long it may be."""
    item = PlannedItem(number=1, step="begin", output="names", at_most=1)
    with pytest.raises(Unusable, match="`names` of step begin has 2 items, more than at_most: 1"):
        make_ready(_step(world, item=item), values, None)


@pytest.mark.parametrize("counts", [True, False])
def test_what_was_not_given_skips_its_user(world: World, values: Values, *, counts: bool) -> None:
    """A step whose input nobody gave is to be skipped; it counts as much as the step that did not give it."""
    records = {**values.records, "side": values.records["side"].model_copy(update={"counts": counts})}
    missing = PlannedInput(name="x", source="step", step="side", output="y", type="text")
    found = without_input(_step(world, inputs=(NAMES, missing)), Values(values.layout, values.run, records))
    assert found == ("input `x` is `y` of step side, which was left out", counts)
    assert without_input(_step(world, inputs=(NAMES,)), values) is None


def test_a_list_that_was_not_given_skips_its_steps(world: World, values: Values) -> None:
    """The steps of a list whose step was left out are skipped, with that as the reason."""
    step = _step(world, item=PlannedItem(number=1, step="side", output="names", at_most=3))
    assert left_out(step, values) == ""
    assert without_input(step, values) == ("its list is `names` of step side, which was left out", False)


def test_texts_are_filled_in(world: World, values: Values) -> None:
    """A template knows inputs, item and number; a prompt that is no template keeps its braces."""
    item = PlannedItem(number=2, step="begin", output="names", at_most=3)
    step = _step(world, prompt="{{ item }} is {{ number }} of {{ names }}", template=True, item=item, inputs=(NAMES,))
    ready = make_ready(step, values, None)
    assert ready.step.prompt == 'b is 2 of ["a", "b"]'
    assert ready.item == {"number": 2, "value": "b"}
    assert ready.step.prompt_sha256 == step.prompt_sha256
    assert make_ready(_step(world, prompt="{{ x }}"), values, None).step.prompt == "{{ x }}"


def test_messages_to_models_and_people_are_templates(world: World, values: Values) -> None:
    """Both texts of a call and an approval's question are filled in."""
    call = PlannedCall(prompt="Look at {{ names[0] }}.", system="Seed {{ seed }}.")
    filled = make_ready(_step(world, kind="model", call=call, inputs=(NAMES,)), values, None).step.call
    assert filled == PlannedCall(prompt="Look at a.", system=f"Seed {values.run.seed}.")
    approval = PlannedApproval(message="Go on with {{ names | length }} names?")
    assert question(_step(world, kind="approval", approval=approval, inputs=(NAMES,)), values) == (
        "Go on with 2 names?"
    )


def test_bytes_are_no_text(world: World, values: Values) -> None:
    """A file that is not UTF-8 is fine as an input, and fails the step only where a text wants it."""
    raw = PlannedInput(name="raw", source="step", step="begin", output="raw", type="file")
    step = _step(world, prompt="x", template=True, inputs=(raw,))
    assert make_ready(step, values, None).inputs[0].data == b"\xff"
    with pytest.raises(Unusable, match="input `raw` is not UTF-8"):
        make_ready(step.model_copy(update={"prompt": "{{ raw }}"}), values, None)


def test_what_a_value_holds_is_no_template(world: World, values: Values, tmp_path: Path) -> None:
    """Text that a framework wrote stands in the prompt as it is, braces and all."""
    (tmp_path / "x").write_text("{{ seed }}{% if %}")
    taken = PlannedInput(name="x", source="workspace", workspace="x", type="text")
    step = _step(world, prompt="<{{ x }}>", template=True, inputs=(taken,))
    assert make_ready(step, values, tmp_path).step.prompt == "<{{ seed }}{% if %}>"
