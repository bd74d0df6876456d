"""Ways out of a framework's steps: what a recipe and a scenario come to together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from runner.spec.egress import HostPattern, Network
from runner.spec.models import Experiment, Framework
from runner.spec.scenario import Scenario, Step, Workflow
from runner.spec.selection import is_selected


@dataclass(frozen=True, kw_only=True)
class Performed:
    """A step that takes part, and where it stands."""

    step: Step
    number: int
    """0-based position in its file."""
    workflow: str = ""
    """Workflow whose file that is; empty: the scenario's own."""


def way_out(framework: Framework, step: Step) -> Network:
    """Return the way out of one step: its own, else that of its kind or the framework's."""
    match step.kind:
        case "model":
            return "gateway"
        case "approval":
            return "none"
        case "check":
            return step.network or "none"
        case _:
            return step.network or framework.network


def allowed(framework: Framework, step: Step) -> tuple[HostPattern, ...]:
    """Return the hosts that a step may reach through the gateway's proxy, sorted."""
    if step.kind == "model" or way_out(framework, step) != "gateway":
        return ()
    return tuple(sorted({*framework.allow, *step.allow}))


def performed_steps(
    scenario: Scenario | Workflow, workflows: Mapping[str, Workflow] = MappingProxyType({}), *, within: str = ""
) -> Iterator[Performed]:
    """Yield the steps that take part, those of the workflows they use in their place.

    Args:
        scenario: a scenario, or a workflow.
        workflows: workflows by name; one that is absent could not be loaded.
        within: name of the workflow whose steps these are.
    """
    for number, step in enumerate(scenario.steps):
        if not step.enabled:
            continue
        if step.workflow is None:
            yield Performed(step=step, number=number, workflow=within)
        elif step.workflow in workflows:
            yield from performed_steps(workflows[step.workflow], workflows, within=step.workflow)


def images_of(scenario: Scenario, workflows: Mapping[str, Workflow] = MappingProxyType({})) -> frozenset[str]:
    """Return the recipes whose images the steps of a scenario use instead of the framework's."""
    steps = (one.step for one in performed_steps(scenario, workflows))
    return frozenset(step.image for step in steps if step.image is not None)


def is_connected(
    framework: Framework, scenario: Scenario, workflows: Mapping[str, Workflow] = MappingProxyType({})
) -> bool:
    """Tell whether any step has a way out."""
    return any(way_out(framework, one.step) != "none" for one in performed_steps(scenario, workflows))


def needs_answers(
    framework: Framework, scenario: Scenario, workflows: Mapping[str, Workflow] = MappingProxyType({})
) -> bool:
    """Tell whether a scripted model must have answers: whether the framework or a model step can ask it at all."""
    return any(
        one.step.kind in {"prompt", "model"} and way_out(framework, one.step) != "none"
        for one in performed_steps(scenario, workflows)
    )


def needs_model(framework: Framework, step: Step) -> bool:
    """Tell whether a step is of no use without a model: its gateway would lead to nothing at all.

    A program of the user's own that only inherits the framework's gateway may do without.
    """
    if step.kind in {"command", "check"} and step.network is None:
        return False
    return way_out(framework, step) == "gateway" and not allowed(framework, step)


def wants_gateway(
    experiment: Experiment,
    frameworks: Mapping[str, Framework],
    scenarios: Mapping[str, Scenario],
    workflows: Mapping[str, Workflow] = MappingProxyType({}),
) -> bool:
    """Tell whether any selected step needs the gateway: for a model, for hosts beside it, or for packages."""
    shared = experiment.model is not None or experiment.packages is not None
    return any(
        way_out(framework, one.step) != "none" and (shared or bool(framework.allow or one.step.allow))
        for framework, scenario in selected_pairs(experiment, frameworks, scenarios)
        for one in performed_steps(scenario, workflows)
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
