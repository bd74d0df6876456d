"""Find the step that a person means by `RUN@STEP`, and what its run's history keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.cli.finding import Place, find_run, read_record
from runner.cli.parser import unknown
from runner.errors import ConfigError, StorageError
from runner.evidence.history.diff import State, state
from runner.evidence.history.oci import KeptStep, read_base, read_steps
from runner.evidence.records import RunRecord
from runner.execution.fork import ORIGIN
from runner.names import PROJECT
from runner.plan.fork import finished
from runner.plan.graph import placements
from runner.plan.models import PlannedStep, Run


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A run and the steps that its history keeps, in order; there is at least one."""

    place: Place
    steps: Sequence[KeptStep]

    @property
    def history(self) -> Path:
        return self.place.layout.history

    def step(self, text: str) -> KeptStep:
        """Return the step that is named or numbered.

        Raises:
            ConfigError: if no such step is kept.
            StorageError: if it is not, and the run's record cannot be read.
        """
        for one in self.steps:
            if text in {one.id, str(one.number)}:
                return one
        choices = [one.id for one in self.steps]
        record = read_record(self.place)
        for planned in record.run.steps:
            if text in {planned.id, str(planned.index)}:
                raise ConfigError(
                    f"the history of {self.place.run_id} has no step {planned.id}",
                    why=f"{_why_not_kept(record, planned)}; the history has: {', '.join(choices)}",
                    hint=f"runner steps {self.place.run_id}",
                )
        raise unknown(f"step in the history of {self.place.run_id}", text, choices, f"runner steps {self.place.run_id}")


def _why_not_kept(record: RunRecord, planned: PlannedStep) -> str:
    if placements(record.run.steps)[planned.id].mode == "none":
        return "it works on no workspace"
    ended = next((one for one in record.steps if one.index == planned.index), None)
    if ended is None:
        return "it has not ended"
    return (
        f"it was skipped: {ended.reason}" if ended.outcome == "skipped" else "it could not be kept, see the run's notes"
    )


def kept_run(output: Path, text: str) -> Kept:
    """Return the run that a person means, which must have a history.

    Raises:
        ConfigError: if there is no such run.
        StorageError: if it has no history, or a damaged one.
    """
    place = find_run(output, text)
    steps = read_steps(place.layout.history)
    if not steps:
        raise StorageError(
            f"{place.run_id} has no history",
            where=str(place.layout.history),
            why="no step of it has ended yet, or its experiment says `history: off`",
            hint=f"runner steps {place.run_id}",
        )
    return Kept(place=place, steps=steps)


def kept_step(output: Path, text: str) -> tuple[Kept, KeptStep]:
    """Return the run and the step that `RUN@STEP` means.

    Raises:
        ConfigError: if no step is named, or there is no such run or step.
        StorageError: if the run has no history, or a damaged one.
    """
    name, at, step = text.rpartition("@")
    if not at or not step:
        raise ConfigError(
            f"{text} names no step", why="a step is a name or a number after an @", hint=f"{text.rstrip('@')}@1"
        )
    kept = kept_run(output, name)
    return kept, kept.step(step)


def found_by(step: KeptStep) -> KeptStep:
    """Return a step as it found the workspace: what lists it is empty if that was nothing."""
    return replace(step, index=step.base)


def done_after(run: Run, step: KeptStep) -> frozenset[str]:
    """Return the steps that have ended where a step has; none where a fork begins."""
    return frozenset() if step.number == ORIGIN else finished(run.steps, step.id)


def left_with_state(record: RunRecord, step: KeptStep) -> bool:
    """Tell whether a run's /state is what a step left there: whether no step of it was performed after or beside it."""
    performed = {one.id for one in record.steps if one.attempts}
    return record.outcome is not None and performed <= done_after(record.run, step)


def two_states(output: Path, one: str, other: str | None) -> tuple[State, State]:
    """Return the two workspaces to compare; without a second, what the step of the first found and what it left.

    `RUN@0` is the workspace before the first step: empty, or of a fork what it was given.
    """
    if other is None:
        kept, step = kept_step(output, one)
        return _found(kept, step), state(kept.history, step)
    return _state(output, one), _state(output, other)


def _state(output: Path, text: str) -> State:
    name, _, number = text.rpartition("@")
    if number == "0" and name and (kept := kept_run(output, name)).steps[0].number:
        return State(history=kept.history, step=kept.steps[0], nodes={})
    kept, step = kept_step(output, text)
    return state(kept.history, step)


def _found(kept: Kept, step: KeptStep) -> State:
    return State(history=kept.history, step=found_by(step), nodes=read_base(kept.history, step).nodes)


def recipe_name(tag: str) -> str:
    """Return the name of the recipe below images/ that an image was made from, by its tag.

    Raises:
        StorageError: if the tag is none of ours.
    """
    name = tag.removeprefix(f"{PROJECT}/").rpartition(":")[0]
    if not tag.startswith(f"{PROJECT}/") or not name:
        raise StorageError(f"the image {tag} comes from no recipe of this program")
    return name
