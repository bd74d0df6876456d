"""What a step is given to work on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.evidence.tree import TreeScan


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
