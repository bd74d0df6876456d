"""A small experiment to plan, and its parts to vary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.plan.matrix import plan
from runner.plan.models import ImageRef, Run
from runner.spec.model import Model
from runner.spec.models import Experiment, Framework, LimitsPatch, PypiSource, SmokeTest
from runner.spec.scenario import Scenario, Step


def make_framework(name: str = "alpha", **changes: Any) -> Framework:
    """Return a framework that talks to a model."""
    recipe = Framework(
        name=name,
        source=PypiSource(pypi=name, version="1.0"),
        command=(name, "{prompt_file}"),
        network="gateway",
        smoke_test=SmokeTest(command=(name, "--version")),
    )
    return recipe.model_copy(update=changes)


def make_scenario(name: str = "build", **changes: Any) -> Scenario:
    """Return a scenario of two steps and a disabled one between them."""
    steps = (
        Step(id="begin", title="Begin", prompt="Begin."),
        Step(id="rest", prompt="Rest.", enabled=False),
        Step(id="extend", prompt="Extend.", limits=LimitsPatch(step_timeout=120.0)),
    )
    return Scenario(name=name, steps=steps).model_copy(update=changes)


def make_experiment(**changes: Any) -> Experiment:
    """Return two frameworks on two scenarios, two repetitions, with the scripted model."""
    experiment = Experiment(
        name="small", frameworks=("alpha", "beta"), scenarios=("build", "greet"), repetitions=2, model=Model()
    )
    return experiment.model_copy(update=changes)


def make_plan(
    experiment: Experiment | None = None,
    *,
    frameworks: Sequence[Framework] = (make_framework("alpha"), make_framework("beta", network="none")),
    scenarios: Sequence[Scenario] = (make_scenario("build"), make_scenario("greet")),
    image: str | None = "sha256:1",
    answers: str = "a" * 64,
    platform: str = "linux/amd64",
) -> Sequence[Run]:
    """Plan an experiment; every framework has the same image, every pair the same answers."""
    return plan(
        experiment or make_experiment(),
        {one.name: one for one in frameworks},
        {one.name: one for one in scenarios},
        {one.name: ImageRef(tag=one.name, id=image) for one in frameworks},
        {(one.name, two.name): answers for one in frameworks for two in scenarios},
        platform=platform,
    )
