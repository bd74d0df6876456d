"""Planning a run that goes on from a step of another."""

from __future__ import annotations

from typing import Any

import pytest
from support.planning import make_experiment, make_framework, make_plan

from runner.errors import ConfigError
from runner.plan.fork import Changes, Past, finished, forked, performed_by, remaining
from runner.plan.models import Ancestry, ImageRef, PlannedInput, PlannedItem, PlannedStep, Run
from runner.spec.models import Limits

ANCESTRY = Ancestry(run="build-r1-0", digest="0" * 64, step="begin", index=1, workspace_sha256="1" * 64)


def step(name: str, index: int, **changes: Any) -> PlannedStep:
    """Return a step of a graph."""
    about = {"title": "", "prompt": "p", "prompt_sha256": "0" * 64, "expect_changes": True, "limits": Limits()}
    return PlannedStep.model_validate({"id": name, "index": index, **about, **changes})


def diamond() -> list[PlannedStep]:
    """Return a, then b and c beside each other, then d."""
    return [
        step("a", 1),
        step("b", 2, depends_on=("a",)),
        step("c", 3, depends_on=("a",)),
        step("d", 4, depends_on=("b", "c")),
    ]


def parent() -> Run:
    """Return a run of two steps, `begin` and `extend`, that talks to a model."""
    experiment = make_experiment(frameworks=("alpha",), scenarios=("build",), repetitions=1)
    return make_plan(experiment, frameworks=(make_framework("alpha"),))[0]


def changes(**other: Any) -> Changes:
    """Return a fork's changes: none but those given."""
    run = parent()
    same = {"framework": run.framework, "image": run.image, "scenario": run.scenario, "model": run.model}
    return Changes(**{**same, "answers_sha256": run.answers_sha256, **other})


def test_finished_are_the_step_and_all_before_it() -> None:
    """Beside the step that is named, everything that had to end before it is done; what ran beside it is not."""
    assert finished(diamond(), "b") == {"a", "b"}
    assert finished(diamond(), "d") == {"a", "b", "c", "d"}


def test_remaining_steps_keep_their_order_and_lose_what_is_done() -> None:
    """Steps that are left are numbered anew and wait for each other as before, for finished ones no more."""
    left = remaining(diamond(), {"a", "b"}, Past())
    assert [(one.id, one.index, one.depends_on) for one in left] == [("c", 1, None), ("d", 2, None)]
    left = remaining(diamond(), {"a"}, Past())
    assert [(one.id, one.depends_on) for one in left] == [("b", None), ("c", ()), ("d", ("b", "c"))]


def test_nothing_left() -> None:
    """After the last step there is nothing to fork, and the message says which steps there are."""
    with pytest.raises(ConfigError, match="no step is left") as caught:
        remaining(diamond(), set("abcd"), Past())
    assert "a, b, c, d" in caught.value.why


def test_values_of_finished_steps_are_planned_as_they_were() -> None:
    """An input that a finished step gave becomes the value itself, a gathered one the list of those given."""
    steps = [
        step("a.1", 1),
        step("a.2", 2),
        step(
            "b",
            3,
            inputs=(
                PlannedInput(name="one", source="step", step="a.1", output="word", type="text"),
                PlannedInput(name="all", source="steps", steps=("a.1", "a.2"), output="word", type="list"),
                PlannedInput(name="other", source="value", value=3, type="number"),
            ),
        ),
    ]
    past = Past(outputs={("a.1", "word"): "yes"})
    (left,) = remaining(steps, {"a.1", "a.2"}, past)
    assert [(one.name, one.source, one.value) for one in left.inputs] == [
        ("one", "value", "yes"),
        ("all", "value", ["yes"]),
        ("other", "value", 3),
    ]
    assert left.when == ()


def test_a_list_of_both_finished_and_unfinished_steps_is_refused() -> None:
    """Values that are partly there cannot be taken over; it says which steps are the matter."""
    gather = PlannedInput(name="all", source="steps", steps=("b", "c"), output="word", type="list")
    steps = [*diamond()[:3], diamond()[3].model_copy(update={"inputs": (gather,)})]
    with pytest.raises(ConfigError, match="step d collects `word`"):
        remaining(steps, {"a", "b"}, Past())


def test_a_value_never_given_leaves_the_step_out() -> None:
    """What a finished step did not give cannot be taken; the step that wants it is left out, not failed."""
    wants = PlannedInput(name="one", source="step", step="a", output="word", type="text")
    (left,) = remaining([step("a", 1), step("b", 2, inputs=(wants,))], {"a"}, Past())
    assert (left.inputs, left.when) == ((), ("false",))


def test_items_of_a_list_that_is_known_now() -> None:
    """Repetitions over a finished step's list get their items; those beyond its end are left out."""
    over = [step(f"b.{n}", n + 1, item=PlannedItem(number=n, step="a", output="all", at_most=3)) for n in (1, 2)]
    first, second = remaining([step("a", 1), *over], {"a"}, Past(outputs={("a", "all"): ["x"]}))
    assert (first.item, first.when) == (PlannedItem(number=1, value="x"), ())
    assert second.when == ("false",)


def test_outcomes_of_finished_steps_in_conditions() -> None:
    """Both ways to write an outcome become what it was; those of steps still to come stay, and like names too."""
    text = "steps.a.outcome == 'passed' and steps['a'].outcome != steps.ab.outcome"
    (left,) = remaining([step("a", 1), step("b", 2, when=(text,))], {"a"}, Past(outcomes={"a": "failed"}))
    assert left.when == ("'failed' == 'passed' and 'failed' != steps.ab.outcome",)


def test_a_fork_is_another_run() -> None:
    """Its ancestry is part of its identity by the workspace alone; who did it and why is not."""
    run, steps = parent(), parent().steps[1:]
    fork = forked(run, steps, ANCESTRY, changes())
    other = forked(run, steps, ANCESTRY.model_copy(update={"workspace_sha256": "2" * 64}), changes())
    noted = forked(run, steps, ANCESTRY.model_copy(update={"note": "why not", "run": "elsewhere"}), changes())
    assert len({run.digest, fork.digest, other.digest}) == 3
    assert (fork.id, fork.digest) == (noted.id, noted.digest)
    assert fork.id == f"build-r1-{(fork.digest or '')[:10]}"
    assert (fork.seed, fork.model, fork.parent) == (run.seed, run.model, ANCESTRY)


def test_prompts_and_seed_of_a_fork() -> None:
    """A prompt that is given replaces the step's, digest included; one for a step that is not done is refused."""
    run = parent()
    fork = forked(run, run.steps, ANCESTRY, changes(prompts={"begin": "Other."}, seed=7))
    assert [one.prompt for one in fork.steps] == ["Other.", "Extend."]
    assert fork.steps[0].prompt_sha256 != run.steps[0].prompt_sha256
    assert fork.seed == 7
    with pytest.raises(ConfigError, match="--prompt begin: no step begin"):
        forked(run, run.steps[1:], ANCESTRY, changes(prompts={"begin": "Other."}))
    with pytest.raises(ConfigError) as caught:
        forked(run, run.steps, ANCESTRY, changes(prompts={"begn": "Other."}))
    assert caught.value.hint.startswith("did you mean `begin`? choose from: ")


def test_another_framework_brings_its_own_way_out() -> None:
    """A step without a way of its own has that of the framework which performs it; without any no model is planned."""
    run, closed = parent(), make_framework("beta", network="none")
    steps = [performed_by(one, run.framework, closed) for one in run.steps]
    fork = forked(run, steps, ANCESTRY, changes(framework=closed, image=ImageRef(tag="beta", id="sha256:2")))
    assert {one.network for one in fork.steps} == {"none"}
    assert (fork.model, fork.answers_sha256, fork.framework.name, fork.image.id) == (None, None, "beta", "sha256:2")


def test_a_steps_own_way_out_stays() -> None:
    """What a step may reach beyond its framework goes along with it; a check keeps what it has."""
    old, new = make_framework("alpha", allow=("a.org",)), make_framework("beta", allow=("b.org",))
    prompt = step("a", 1, network="gateway", allow=("a.org", "own.org"))
    assert performed_by(prompt, old, new).allow == ("b.org", "own.org")
    check = prompt.model_copy(update={"kind": "check"})
    assert performed_by(check, old, new) == check
