"""A workspace that a test changes step by step, and what it must be again."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.evidence.history.oci import KeptStep
from runner.evidence.history.restore import restore
from runner.evidence.history.snapshot import History, open_history, take_snapshot
from runner.evidence.tree import scan

Picture = Mapping[bytes, tuple[object, ...]]


def picture(root: Path) -> Picture:
    """Return everything of a tree that has to come back, read by other means than the code under test."""
    found: dict[bytes, tuple[object, ...]] = {}
    groups: dict[int, list[bytes]] = {}
    base = os.fsencode(root)
    for folder, folders, files in os.walk(base):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)  # noqa: PTH118  the names are bytes
            status = os.lstat(path)
            short = os.path.relpath(path, base)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found[short] = ("link", os.readlink(path))  # noqa: PTH115
            elif stat.S_ISDIR(status.st_mode):
                found[short] = ("folder", mode)
            elif stat.S_ISREG(status.st_mode):
                groups.setdefault(status.st_ino, []).append(short)
                with open(path, "rb") as stream:  # noqa: PTH123
                    found[short] = ("file", mode, stream.read())
    for names in groups.values():
        for name in names:
            found[name] = (*found[name], tuple(sorted(names)))
    return found


@dataclass
class World:
    """A run's workspace and its history."""

    root: Path
    history: History
    pictures: list[Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def workspace(self) -> Path:
        return self.root / "generated_artifacts"

    @property
    def folder(self) -> Path:
        return self.root / "history"

    def step(self) -> KeptStep:
        """Keep the workspace as it is now."""
        number = len(self.pictures) + 1
        self.pictures.append(picture(self.workspace))
        self.notes += take_snapshot(self.history, self.workspace, scan(self.workspace), number, f"s{number}")
        return self.history.steps[-1]

    def restored(self, number: int) -> Picture:
        """Return what comes back of a step."""
        target = self.root / f"back-{number}"
        restore(self.folder, self.history.steps[number - 1], target)
        return picture(target)


def make_world(root: Path) -> World:
    """Return an empty workspace without a history."""
    (root / "generated_artifacts").mkdir(parents=True)
    return World(root, open_history(root / "history"))
