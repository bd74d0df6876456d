"""Plan the checks of a scenario: after which planned steps each judges, and what can be expected by then."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from runner.plan.digest import canonical, sha256
from runner.plan.graph import ancestors
from runner.plan.models import Checker, JudgedAfter, PlannedCheck, PlannedStep
from runner.spec.judging import ALL, LAST, Check, Entity
from runner.spec.scenario import Scenario

_NO_VERDICT = frozenset({"id", "title", "after", "required"})
"""Parts of a check that change nothing of what it says about a workspace."""


def plan_checks(scenario: Scenario, steps: Sequence[PlannedStep]) -> tuple[PlannedCheck, ...]:
    """Return a scenario's checks with the planned steps that they judge after.

    Args:
        scenario: the scenario, with the text of every script.
        steps: its planned steps.
    """
    earlier = ancestors(steps)
    stands_for = _stands_for(scenario, steps)
    return tuple(
        PlannedCheck(check=check, after=tuple(_judged(check, steps, stands_for, earlier))) for check in scenario.checks
    )


def kept_checks(checks: Sequence[PlannedCheck], steps: Collection[str]) -> tuple[PlannedCheck, ...]:
    """Return checks without what judges after steps that are not there; for a run that goes on from another's middle."""
    kept = (one.model_copy(update={"after": tuple(at for at in one.after if at.step in steps)}) for one in checks)
    return tuple(one for one in kept if one.after)


def changing(steps: Sequence[PlannedStep]) -> list[str]:
    """Return the steps that can change the workspace, by position."""
    return [step.id for step in steps if step.workspace in {"own", "shared"}]


def version_of(check: Check, checker: Checker | None) -> str:
    """Return the version of a check's verdicts: the sha256 of what it asks for, and of the image that judges.

    Titles, and after which steps it judges, are not in it: the same question about another workspace stays the same.
    """
    asked = check.model_dump(mode="json", exclude=set(_NO_VERDICT))
    image = checker.image.id if checker is not None else None
    command = list(checker.command) if checker is not None else []
    return sha256(canonical({"check": asked, "command": command, "image": image}))


def expected(check: Check, come: Collection[str]) -> tuple[Entity, ...]:
    """Return the entities, fields and relations that can be expected once some steps have been done.

    Args:
        check: the check.
        come: ids of the scenario's steps that have been done.
    """
    entities = [one for one in check.entities if one.since is None or one.since in come]
    names = {one.name for one in entities}
    found = []
    for entity in entities:
        fields = {key: one for key, one in entity.fields.items() if one.since is None or one.since in come}
        relations = {
            key: one
            for key, one in entity.relations.items()
            if one.to in names and (one.since is None or one.since in come)
        }
        found.append(entity.model_copy(update={"fields": fields, "relations": relations}))
    return tuple(found)


def _stands_for(scenario: Scenario, steps: Sequence[PlannedStep]) -> Mapping[str, str]:
    """Return, by planned step, the scenario's step in whose place it stands: its name begins with that one's."""
    written = sorted((step.id for step in scenario.steps), key=len, reverse=True)
    return {
        # A run of another scenario may have steps that this one has not.
        step.id: next((name for name in written if step.id == name or step.id.startswith(f"{name}.")), step.id)
        for step in steps
    }


def _judged(
    check: Check,
    steps: Sequence[PlannedStep],
    stands_for: Mapping[str, str],
    earlier: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> list[JudgedAfter]:
    seeing = [step.id for step in steps if step.workspace != "none"]
    all_come = tuple(dict.fromkeys(stands_for.values()))
    match check.after:
        case (name,) if name == LAST:
            last = (changing(steps) or seeing or [steps[-1].id])[-1]
            return [JudgedAfter(step=last, final=True, come=all_come)]
        case (name,) if name == ALL:
            chosen = changing(steps)
        case _:
            # Of a step that stands for several, the state after the last of them.
            ends = {stands_for[step]: step for step in seeing}
            chosen = [ends[name] for name in check.after if name in ends]
    return [JudgedAfter(step=one, come=_come(one, stands_for, earlier)) for one in sorted(chosen, key=seeing.index)]


def _come(step: str, stands_for: Mapping[str, str], earlier: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the scenario's steps that are wholly done when a planned step is."""
    done = {step, *earlier[step]}
    open_ = {name for planned, name in stands_for.items() if planned not in done}
    return tuple(name for name in dict.fromkeys(stands_for.values()) if name not in open_)
