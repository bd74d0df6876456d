"""What a step is given to work on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.errors import RunnerError
from runner.evidence.tree import TreeScan


class Unrestorable(RunnerError):
    """What a step found cannot be put back, so that it cannot be tried again on its own."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Workspace and state of one step, made ready before it begins."""

    workspace: Path | None
    """Host folder of the workspace; None for a step that sees none."""
    volume: str | None
    """Name of the engine's volume over it; None without a workspace."""
    state: Path
    """Host folder that is mounted at /state."""
    read_only: bool
    """Whether the workspace can be read only."""
    before: TreeScan
    """The workspace as the step finds it."""
    state_before: TreeScan | None = None
    """The state as it finds it; None if nobody will have to know."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the workspace that a forked run begins with is kept."""

    history: Path
    """Folder `history` of the run that is continued."""
    number: int
    """Of the step in it."""
    state: Path | None = None
    """What /state is to hold at the start: a folder `state` of that run; None for nothing."""
