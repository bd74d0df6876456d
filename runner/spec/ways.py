"""Ways out of a framework's steps: what a recipe and a scenario come to together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runner.spec.egress import Network
from runner.spec.models import Experiment, Framework, Scenario, Step
from runner.spec.selection import is_selected


def way_out(framework: Framework, step: Step) -> Network:
    """Return the way out of one step: its own, else the framework's."""
    return step.network or framework.network


def enabled_steps(scenario: Scenario) -> Iterator[tuple[int, Step]]:
    """Yield the steps that take part, each with its 0-based position in the file."""
    return ((number, step) for number, step in enumerate(scenario.steps) if step.enabled)


def is_connected(framework: Framework, scenario: Scenario) -> bool:
    """Tell whether any step has a way out."""
    return any(way_out(framework, step) != "none" for _, step in enabled_steps(scenario))


def needs_model(framework: Framework, step: Step) -> bool:
    """Tell whether a step is of no use without a model: its gateway would lead to nothing at all."""
    return way_out(framework, step) == "gateway" and not framework.allow and not step.allow


def wants_gateway(
    experiment: Experiment, frameworks: Mapping[str, Framework], scenarios: Mapping[str, Scenario]
) -> bool:
    """Tell whether any selected step needs the gateway: for a model, for hosts beside it, or for packages."""
    shared = experiment.model is not None or experiment.packages is not None
    return any(
        way_out(framework, step) != "none" and (shared or bool(framework.allow or step.allow))
        for framework, scenario in selected_pairs(experiment, frameworks, scenarios)
        for _, step in enabled_steps(scenario)
    )


def selected_pairs(
    experiment: Experiment, frameworks: Mapping[str, Framework], scenarios: Mapping[str, Scenario]
) -> Iterable[tuple[Framework, Scenario]]:
    """Return each framework with each scenario it is to meet."""
    return [
        (framework, scenario)
        for name, framework in frameworks.items()
        for scenario_name, scenario in scenarios.items()
        if is_selected(experiment, name, scenario_name)
    ]
