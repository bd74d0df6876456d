"""Find the step that a person means by `RUN@STEP`, and what its run's history keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.cli.finding import Place, find_run
from runner.cli.parser import unknown
from runner.errors import ConfigError, StorageError
from runner.evidence.history.diff import State, state
from runner.evidence.history.oci import KeptStep, read_steps


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
        """
        for one in self.steps:
            if text in {one.id, str(one.number)}:
                return one
        choices = [one.id for one in self.steps]
        raise unknown(f"step in the history of {self.place.run_id}", text, choices, f"runner steps {self.place.run_id}")


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


def two_states(output: Path, one: str, other: str | None) -> tuple[State, State]:
    """Return the two workspaces to compare; without a second, the first and the one before it.

    `RUN@0` is the empty workspace before the first step.
    """
    if other is None:
        kept, step = kept_step(output, one)
        position = list(kept.steps).index(step)
        before = state(kept.history, kept.steps[position - 1]) if position else _empty(kept)
        return before, state(kept.history, step)
    return _state(output, one), _state(output, other)


def _state(output: Path, text: str) -> State:
    name, _, number = text.rpartition("@")
    if number == "0" and name:
        return _empty(kept_run(output, name))
    kept, step = kept_step(output, text)
    return state(kept.history, step)


def _empty(kept: Kept) -> State:
    return State(history=kept.history, step=kept.steps[0], nodes={})
