"""Which runs of an experiment are not possible here, as an image that they need cannot be had."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from runner.spec.models import Experiment
from runner.spec.scenario import Scenario, Workflow
from runner.spec.selection import is_selected
from runner.spec.ways import images_of


@dataclass(frozen=True, kw_only=True)
class Impossible:
    """The runs of one framework on one scenario that are left out; they have no record and no outcome."""

    framework: str
    scenario: str
    runs: int
    images: tuple[str, ...]
    """Recipes whose images are missing: the framework's, or those of single steps."""


def impossible_runs(
    experiment: Experiment, scenarios: Mapping[str, Scenario], workflows: Mapping[str, Workflow], images: Container[str]
) -> Sequence[Impossible]:
    """Return what `plan` leaves out of an experiment for want of images, by scenario and framework, in its order.

    Args:
        experiment: what was asked for.
        scenarios: scenarios by name.
        workflows: every workflow that they use, by name.
        images: recipes that have an image.
    """
    found = []
    for scenario in experiment.scenarios:
        used = images_of(scenarios[scenario], workflows)
        for framework in experiment.frameworks:
            missing = tuple(name for name in sorted({framework, *used}) if name not in images)
            repetitions = range(1, experiment.repetitions + 1)
            runs = sum(is_selected(experiment, framework, scenario, one) for one in repetitions) if missing else 0
            if runs:
                found.append(Impossible(framework=framework, scenario=scenario, runs=runs, images=missing))
    return found
