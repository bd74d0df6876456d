"""What is on disk of an attempt under way: written before its container is made, and before that is removed.

Both files stand below `views/begun/` of the run, which is there only while the run goes on. From them a later runner
takes up an attempt that an earlier one could not see to its end; format: JSON of the classes below. Nothing is synced:
after the machine's end no attempt goes on, and a run that was under way is done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from runner.engine.gpus import read_gpus
from runner.engine.protocol import ContainerState, Usage
from runner.evidence.atomic import write_bytes
from runner.evidence.layout import RunLayout
from runner.evidence.records import AttemptRecord
from runner.evidence.scans import Row
from runner.execution.contain import Ended

_FOLDER = "begun"


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An attempt at the same step before this one."""

    record: AttemptRecord
    usage: Usage
    interrupted: bool = False
    """Whether it does not count, because it was not the framework that ended it."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """An attempt that is under way."""

    step: str
    attempt: int
    container: str
    """Name of its container; empty for a step without one."""
    deadline: float
    """Seconds it was given."""
    deadline_name: str
    began: float
    """Seconds since the epoch, before the container was made."""
    moment: float | None = None
    """The same in seconds since boot, which nobody can set; None if an older version of this program wrote it."""
    boot: str
    """The machine's boot: what was written under another one may not have reached the disk."""
    incarnation: str
    """The engine's."""
    earlier: tuple[Earlier, ...]
    workspace: list[Row] | None
    """What the step found; None for a step that sees no workspace."""
    state: list[Row] | None
    """What it found in its state; None where nothing of it is kept."""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was kept of a container that is over, before it was removed."""

    container: str
    ended: Ended


@dataclass(frozen=True, kw_only=True)
class Left:
    """An attempt that a runner which has ended left, and that can be seen to its end."""

    begun: Begun
    container: ContainerState | None
    """The container, running or exited; None if it was collected and may be gone."""
    ended: Ended | None
    """What was kept of the container; None if that is still to be done."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """Return the devices that the container has, or had."""
        state = self.container or (self.ended.state if self.ended is not None else None)
        return read_gpus(state.labels) if state is not None else ()


_BEGUN, _COLLECTED = TypeAdapter(Begun), TypeAdapter(Collected)


def write_begun(layout: RunLayout, index: int, begun: Begun) -> None:
    """Write down that an attempt at the step at a position begins.

    Raises:
        StorageError: if it cannot be written; nothing may begin then.
    """
    write_bytes(_begun(layout, index), _BEGUN.dump_json(begun), durable=False)


def read_begun(layout: RunLayout, index: int) -> Begun | None:
    """Return the attempt at a step that began last; None if there is none that can be read."""
    try:
        return _BEGUN.validate_json(_begun(layout, index).read_bytes())
    except (OSError, ValueError):
        return None


def write_collected(layout: RunLayout, index: int, collected: Collected) -> None:
    """Write down what is known of a container that is over and about to be removed.

    Raises:
        StorageError: if it cannot be written; the container has to stay then.
    """
    write_bytes(_collected(layout, index), _COLLECTED.dump_json(collected), durable=False)


def read_collected(layout: RunLayout, index: int, container: str) -> Ended | None:
    """Return what was kept of a container before it was removed; None if that is not there."""
    try:
        found = _COLLECTED.validate_json(_collected(layout, index).read_bytes())
    except (OSError, ValueError):
        return None
    return found.ended if found.container == container else None


def _begun(layout: RunLayout, index: int) -> Path:
    return layout.views / _FOLDER / f"step_{index:03d}.json"


def _collected(layout: RunLayout, index: int) -> Path:
    return layout.views / _FOLDER / f"step_{index:03d}.ended.json"
