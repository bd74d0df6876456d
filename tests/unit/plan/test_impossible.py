"""What an experiment has to do without, when an image cannot be had."""

from __future__ import annotations

from support.planning import make_experiment, make_framework, make_plan, make_scenario

from runner.plan.impossible import Impossible, impossible_runs
from runner.spec.models import Cell

EXPERIMENT = make_experiment(frameworks=("a", "b"), scenarios=("s", "t"), repetitions=3)
SCENARIOS = {name: make_scenario(name) for name in ("s", "t")}


def test_with_all_images_everything_is_possible() -> None:
    """Nothing is left out if every framework has its image."""
    assert impossible_runs(EXPERIMENT, SCENARIOS, {}, {"a", "b"}) == []


def test_what_is_left_out_is_counted_by_framework_and_scenario() -> None:
    """The runs of the framework without an image are named, less those that the experiment itself leaves out."""
    experiment = EXPERIMENT.model_copy(update={"exclude": (Cell(framework="b", scenario="t", repetition=2),)})
    assert impossible_runs(experiment, SCENARIOS, {}, {"a"}) == [
        Impossible(framework="b", scenario="s", runs=3, images=("b",)),
        Impossible(framework="b", scenario="t", runs=2, images=("b",)),
    ]


def test_nothing_is_lost_between_plan_and_what_is_impossible() -> None:
    """What is planned and what is left out are together all that the experiment asks for."""
    planned = make_plan(EXPERIMENT, frameworks=[make_framework("a")], scenarios=list(SCENARIOS.values()))
    missing = impossible_runs(EXPERIMENT, SCENARIOS, {}, {"a"})
    assert len(planned) + sum(one.runs for one in missing) == 2 * 2 * 3
