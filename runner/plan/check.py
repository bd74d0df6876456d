"""Check what only the whole graph of a scenario can tell, with the file and line that is to blame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner.plan.flatten import Flat, Origin, Unplannable, flatten
from runner.plan.graph import Placement, ancestors, placements
from runner.plan.models import ImageRef, PlannedStep
from runner.plan.steps import plan_steps
from runner.spec.complaints import Complaint, choose_from, raise_if_any
from runner.spec.load import Inputs
from runner.spec.loaded import Loaded
from runner.spec.scenario import Scenario, Workflow
from runner.spec.templates import references_in


def check_graphs(inputs: Inputs) -> None:
    """Refuse scenarios whose steps cannot be planned, or whose steps would work on one workspace in two ways.

    Args:
        inputs: an experiment that was loaded with everything it names.

    Raises:
        SpecError: with every complaint.
    """
    complaints: list[Complaint] = []
    for scenario in inputs.scenarios.values():
        graph = _Graph(inputs=inputs, scenario=scenario)
        try:
            complaints += graph.complaints()
        except Unplannable as error:
            where = graph.where(error.origin, error.key)
            complaints.append(Complaint(what=error.what, where=where, hint=error.hint))
    raise_if_any(complaints)


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """One scenario with the files its steps stand in."""

    inputs: Inputs
    scenario: Loaded[Scenario]

    def where(self, origin: Origin, key: str) -> str:
        """Return where a key of a step is written."""
        page: Loaded[Scenario] | Loaded[Workflow] = self.scenario
        if origin.workflow:
            page = self.inputs.workflows[origin.workflow]
        return page.located.where(("steps", origin.number, key))

    def complaints(self) -> Iterator[Complaint]:
        """Yield what is wrong with the graph.

        Raises:
            Unplannable: if there is none.
        """
        workflows = {name: one.value for name, one in self.inputs.workflows.items()}
        flats = {flat.id: flat for flat in flatten(self.scenario.value, workflows)}
        # What a step sees of the others is the same for every framework.
        framework = next(iter(self.inputs.frameworks.values())).value
        steps = plan_steps(
            self.inputs.experiment.value,
            framework,
            self.scenario.value,
            workflows=workflows,
            images={name: ImageRef(tag=name, id=None) for name in self.inputs.recipes},
        )
        yield from self._conditions(steps, flats)
        yield from self._files(steps, flats)
        yield from self._workspaces(steps, flats, placements(steps))

    def _conditions(self, steps: Sequence[PlannedStep], flats: Mapping[str, Flat]) -> Iterator[Complaint]:
        earlier = ancestors(steps)
        for step in steps:
            for name in {one[1] for text in step.when for one in references_in(text) if one[0] == "steps"}:
                if name not in earlier[step.id]:
                    yield Complaint(
                        what=f"when: no step `{name}` comes before `{step.id}`",
                        where=self.where(flats[step.id].origin, "when"),
                        hint=choose_from(name, earlier[step.id]),
                    )

    def _files(self, steps: Sequence[PlannedStep], flats: Mapping[str, Flat]) -> Iterator[Complaint]:
        """Yield a complaint for each file of the workspace that a workflow hands to a step that cannot look at it."""
        for step in steps:
            asked = {one[1] for text in step.when for one in references_in(text) if one[0] == "inputs"}
            for given in step.inputs:
                if given.source != "workspace" or (step.workspace != "none" and given.name not in asked):
                    continue
                unseen = f"`{step.id}` does not see the workspace" if given.name not in asked else "`when` asks for it"
                yield Complaint(
                    what=f"the input `{given.name}` of `{step.id}` is the file `{given.workspace}` of the workspace",
                    where=self.where(flats[step.id].origin, "inputs"),
                    why=f"{unseen}{', before the step begins' if given.name in asked else ''}",
                    hint="give the workflow an output of a step instead",
                )

    def _workspaces(
        self, steps: Sequence[PlannedStep], flats: Mapping[str, Flat], placed: Mapping[str, Placement]
    ) -> Iterator[Complaint]:
        own: dict[int, str] = {}
        for step in steps:
            if placed[step.id].mode == "view" and step.workspace == "own":
                own.setdefault(placed[step.id].block, step.id)
        for step in steps:
            other = own.get(placed[step.id].block)
            if placed[step.id].shared and other is not None:
                yield Complaint(
                    what=f"workspace: `{step.id}` would change the shared workspace while `{other}` works on its own "
                    "view of it",
                    where=self.where(flats[step.id].origin, "workspace"),
                    why=f"`{other}` is at {self.where(flats[other].origin, 'id')}",
                    hint="write `workspace: shared` at all steps that may run at the same time, or at none",
                )
