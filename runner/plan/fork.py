"""Plan a run that goes on where another one stood after a step: the steps that are left, and who it descends from."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from runner.errors import ConfigError
from runner.plan.digest import digest_of, sha256
from runner.plan.graph import ancestors, dependencies
from runner.plan.judging import kept_checks
from runner.plan.matrix import run_id
from runner.plan.models import (
    Ancestry,
    Checker,
    ImageRef,
    PlannedCheck,
    PlannedInput,
    PlannedItem,
    PlannedStep,
    Run,
)
from runner.spec.complaints import choose_from
from runner.spec.model import Model
from runner.spec.models import Framework

_NEVER = "false"
"""A `when` that leaves a step out."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What steps that are not done again came to."""

    outcomes: Mapping[str, str] = field(default_factory=dict)
    """Outcome by step."""
    outputs: Mapping[tuple[str, str], JsonValue] = field(default_factory=dict)
    """Values by step and name; one that was never given is absent."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What of a run is another one in its fork; None leaves the seed as it was."""

    framework: Framework
    image: ImageRef
    """Of the framework."""
    scenario: str
    model: Model | None
    answers_sha256: str | None
    seed: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    """New prompts by step."""
    checks: Sequence[PlannedCheck] = ()
    """How its workspaces are judged, of which those count that are after its steps."""
    checker: Checker | None = None
    """What judges; None if nothing is to, or its image is not there."""


def finished(steps: Sequence[PlannedStep], last: str) -> frozenset[str]:
    """Return the steps that a fork after `last` does not do again: that one, and all that had to end before it."""
    return ancestors(steps)[last] | {last}


def remaining(steps: Sequence[PlannedStep], gone: Collection[str], past: Past) -> tuple[PlannedStep, ...]:
    """Return the steps that are left, numbered from 1, with what they take from the others filled in.

    A value that a finished step never gave leaves the step out that takes it, as it would have in the run itself.

    Args:
        steps: all steps of the run.
        gone: those that are not done again, as `finished` gives them.
        past: what these came to.

    Raises:
        ConfigError: if no step is left, or one collects values of finished and unfinished steps.
    """
    needed = dependencies(steps)
    left = [step for step in steps if step.id not in gone]
    if not left:
        raise ConfigError(
            "no step is left to do",
            why=f"the run has the steps {', '.join(step.id for step in steps)}, and all of them are done",
            hint="name an earlier step, or steps to go on with: --scenario NAME",
        )
    planned: list[PlannedStep] = []
    for index, step in enumerate(left, start=1):
        before = tuple(one for one in needed[step.id] if one not in gone)
        usual = (planned[-1].id,) if planned else ()
        moved = {"index": index, "depends_on": None if before == usual else before}
        planned.append(_filled(step.model_copy(update=moved), gone, past))
    return tuple(planned)


def performed_by(step: PlannedStep, old: Framework, new: Framework) -> PlannedStep:
    """Return a step as another framework performs it: where it had the old one's way out, it has the new one's."""
    if old == new or step.kind not in {"prompt", "command"}:
        return step
    network = new.network if step.network == old.network else step.network
    hosts = (set(step.allow) - set(old.allow)) | set(new.allow)
    return step.model_copy(update={"network": network, "allow": tuple(sorted(hosts)) if network == "gateway" else ()})


def forked(parent: Run, steps: Sequence[PlannedStep], ancestry: Ancestry, changes: Changes) -> Run:
    """Return a run of these steps that descends from another.

    Args:
        parent: the run that is continued; what `changes` does not name is its own.
        steps: what is to be done.
        ancestry: where it begins.
        changes: what is another.

    Raises:
        ConfigError: if a prompt is given for a step that has none.
    """
    changed = _prompted(steps, changes.prompts)
    connected = any(step.network != "none" or step.kind == "model" for step in changed)
    run = parent.model_copy(
        update={
            "digest": None,
            "framework": changes.framework,
            "scenario": changes.scenario,
            "steps": changed,
            "seed": parent.seed if changes.seed is None else changes.seed,
            "image": changes.image,
            "model": changes.model if connected else None,
            "answers_sha256": changes.answers_sha256 if connected else None,
            "recording_sha256": None,
            "packages": parent.packages if connected else None,
            "packages_sha256": parent.packages_sha256 if connected else None,
            "parent": ancestry,
            "start": None,
            "checks": kept_checks(changes.checks, {step.id for step in changed}),
            "checker": changes.checker,
        }
    )
    digest = digest_of(run)
    return run.model_copy(update={"digest": digest, "id": run_id(run.scenario, run.repetition, digest)})


def _filled(step: PlannedStep, gone: Collection[str], past: Past) -> PlannedStep:
    """Put what the finished steps came to in the place of what a step knows of them."""
    inputs = [_input(one, step, gone, past) for one in step.inputs]
    item, listed = _item(step.item, gone, past)
    when = tuple(_known(one, past.outcomes) for one in step.when)
    left_out = not listed or None in inputs
    given = tuple(one for one in inputs if one is not None)
    return step.model_copy(update={"inputs": given, "when": (*when, _NEVER) if left_out else when, "item": item})


def _input(one: PlannedInput, step: PlannedStep, gone: Collection[str], past: Past) -> PlannedInput | None:
    """Return an input with its value, if finished steps gave it; None if they never did."""
    match one.source:
        case "step" if one.step in gone:
            if (one.step, one.output) not in past.outputs:
                return None
            value = past.outputs[one.step, one.output]
        case "steps" if set(one.steps).intersection(gone):
            if still := [name for name in one.steps if name not in gone]:
                raise ConfigError(
                    f"step {step.id} collects `{one.output}` of steps that are done and of others that are not",
                    why=f"of {', '.join(one.steps)} the fork does {', '.join(still)} only",
                    hint="fork before the first of them, or after all of them",
                )
            known = [(name, one.output) for name in one.steps]
            value = [past.outputs[key] for key in known if key in past.outputs]
        case _:
            return one
    return PlannedInput(name=one.name, source="value", value=value, type=one.type)


def _item(item: PlannedItem | None, gone: Collection[str], past: Past) -> tuple[PlannedItem | None, bool]:
    """Return the item with its value, if a finished step gave the list, and whether the list is so long."""
    if item is None or item.step not in gone:
        return item, True
    items = past.outputs.get((item.step, item.output))
    found = isinstance(items, list) and item.number <= len(items)
    value = items[item.number - 1] if isinstance(items, list) and found else None
    return PlannedItem(number=item.number, value=value), found


def _known(expression: str, outcomes: Mapping[str, str]) -> str:
    """Write the outcomes of finished steps into an expression, which knows them as `steps.ID.outcome`."""
    for name, outcome in outcomes.items():
        place = rf"\bsteps(?:\.{re.escape(name)}|\[\s*(['\"]){re.escape(name)}\1\s*\])\.outcome\b"
        expression = re.sub(place, f"'{outcome}'", expression)
    return expression


def _prompted(steps: Sequence[PlannedStep], prompts: Mapping[str, str]) -> tuple[PlannedStep, ...]:
    for name in prompts:
        kinds = {step.id: step.kind for step in steps}
        if kinds.get(name) != "prompt":
            why = f"it is a {kinds[name]} step" if name in kinds else f"the steps are {', '.join(kinds)}"
            hint = choose_from(name, [one for one, kind in kinds.items() if kind == "prompt"], "none of them has one")
            raise ConfigError(f"--prompt {name}: no step {name} with a prompt is done in the fork", why=why, hint=hint)
    return tuple(
        step.model_copy(update={"prompt": text, "prompt_sha256": sha256(text.encode("utf-8"))})
        if (text := prompts.get(step.id)) is not None
        else step
        for step in steps
    )
