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
        own = [step.id for step in steps if placed[step.id].mode == "view" and step.workspace == "own"]
        using = [step.id for step in steps if placed[step.id].mode != "none"]
        earlier = ancestors(steps)
        for step in steps:
            others = [one for one in own if placed[one].block == placed[step.id].block]
            if placed[step.id].shared and others:
                # One that may really run at the same time says most plainly what is wrong.
                other = next((one for one in others if _beside(earlier, one, step.id)), others[0])
                both = [one for one in using if _beside(earlier, one, step.id) and _beside(earlier, one, other)]
                yield _mixed(
                    step.id,
                    other,
                    _order(earlier, step.id, other),
                    both,
                    where=self.where(flats[step.id].origin, "workspace"),
                    other_at=self.where(flats[other].origin, "id"),
                )


def _beside(earlier: Mapping[str, frozenset[str]], one: str, other: str) -> bool:
    """Tell whether neither of two steps waits for the other."""
    return one != other and one not in earlier[other] and other not in earlier[one]


def _order(earlier: Mapping[str, frozenset[str]], step: str, other: str) -> str:
    """Return whether another step comes `before` or `after` a step; empty if it may run at the same time."""
    if other in earlier[step]:
        return "before"
    return "after" if step in earlier[other] else ""


def _mixed(step: str, other: str, order: str, both: Sequence[str], *, where: str, other_at: str) -> Complaint:
    """Return the complaint about a step on the shared workspace and another on a view, which would miss each other.

    Args:
        step: the one that works on the shared workspace.
        other: the one that works on a view of its own.
        order: as `_order` tells.
        both: steps that see the workspace and may run beside either of them.
        where: where the first says so.
        other_at: where the other is written.
    """
    if not order:
        return Complaint(
            what=f"workspace: `{step}` would change the shared workspace while `{other}` works on its own view of it",
            where=where,
            why=f"`{other}` is at {other_at}",
            hint="write `workspace: shared` at all steps that may run at the same time, or at none",
        )
    cause = f"`{both[0]}` may run beside both of them" if both else "other steps may run beside each of them"
    effect = f"that view is merged too late for `{step}` to see what `{other}` changed"
    if order == "after":
        effect = f"`{other}` never has the workspace to itself"
    return Complaint(
        what=f"workspace: `{step}` would change the shared workspace, and `{other}`, which comes {order} it, works on "
        "its own view of it",
        where=where,
        why=f"{cause}, so {effect}; `{other}` is at {other_at}",
        hint=f"write `workspace: shared` at `{other}`, too, or leave it out at `{step}`",
    )
