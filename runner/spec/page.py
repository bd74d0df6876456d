"""A file of steps, a scenario or a workflow, with all that is needed to judge it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from runner.spec.located import KeyPath, Located
from runner.spec.scenario import Step, ValueType, Workflow, WorkflowInput


@dataclass(frozen=True, kw_only=True)
class Page:
    """Steps as they stand in one file."""

    steps: tuple[Step, ...]
    located: Located
    takes: Mapping[str, WorkflowInput] = field(default_factory=dict)
    """A workflow's inputs; a scenario has none."""
    workflows: Mapping[str, Workflow] = field(default_factory=dict)
    """Workflows that can be used, by name; one that cannot be loaded is absent, and complained of elsewhere."""
    recipes: frozenset[str] = frozenset()
    """Names of images that a step may use."""

    def where(self, number: int, *path: str | int) -> str:
        """Return where a part of a step is written, given the step's 0-based position."""
        return self.located.where(("steps", number, *path))

    def path(self, number: int, *path: str | int) -> KeyPath:
        """Return the keys to a part of a step."""
        return ("steps", number, *path)

    def enabled(self) -> Iterator[tuple[int, Step]]:
        """Yield the steps that take part, each with its 0-based position in the file."""
        return ((number, step) for number, step in enumerate(self.steps) if step.enabled)


def is_repeated(step: Step) -> bool:
    """Tell whether a step stands for several."""
    return step.for_each is not None or step.repeat is not None


def outputs_of(step: Step, workflows: Mapping[str, Workflow]) -> dict[str, ValueType]:
    """Return the types of the values a step gives, by name; of a repeated one, each is the list of all of them.

    Args:
        step: the step.
        workflows: workflows by name; the outputs of one that is absent are not known, and so none.
    """
    found: dict[str, ValueType] = {name: output.type for name, output in step.outputs.items()}
    if step.model is not None:
        found[step.model.output] = step.model.type
    if step.workflow is not None and step.workflow in workflows:
        found |= outputs_of_workflow(workflows[step.workflow], workflows)
    return dict.fromkeys(found, "list") if is_repeated(step) else found


def outputs_of_workflow(workflow: Workflow, workflows: Mapping[str, Workflow]) -> dict[str, ValueType]:
    """Return the types of a workflow's outputs; one that leads nowhere is absent."""
    inner = {step.id: outputs_of(step, workflows) for step in workflow.steps}
    return {
        name: inner[output.step][output.output]
        for name, output in workflow.outputs.items()
        if output.output in inner.get(output.step, {})
    }
