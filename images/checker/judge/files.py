"""Walk a workspace: the files that somebody wrote, not what was installed or left behind beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOST_FILES = 5000
MOST_BYTES = 1024 * 1024
"""Bytes of a source file that are read; what is larger was hardly written for people."""
_DEEPEST = 10
_SKIPPED = frozenset(
    {"__pycache__", "node_modules", "site-packages", "venv", "env", "virtualenv", "dist", "build", "htmlcov"}
)


def walk(workspace: Path, *endings: str) -> list[PurePosixPath]:
    """List regular files with one of these endings, relative, shallow ones first, then by name; no link is followed."""
    found = sorted(_below(workspace, "", endings), key=lambda path: (len(path.parts), str(path)))
    return found[:MOST_FILES]


def text(workspace: Path, path: PurePosixPath) -> str | None:
    """Read a source file; None if it cannot be read, or is too large."""
    try:
        with (workspace / path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError:
        return None
    return data.decode("utf-8", "replace") if len(data) <= MOST_BYTES else None


def is_test(path: PurePosixPath) -> bool:
    """Tell whether a file is a test by its name or by the folders it is in."""
    named = path.stem.startswith("test_") or path.stem.endswith(("_test", ".test", ".spec")) or path.stem == "conftest"
    return named or bool({"tests", "test", "__tests__"} & set(path.parts[:-1]))


def _below(folder: Path, prefix: str, endings: tuple[str, ...]) -> Iterator[PurePosixPath]:
    """Walk by depth, a bounded number of entries in all."""
    waiting = [(folder, prefix, 0)]
    seen = 0
    while waiting:
        here, before, depth = waiting.pop(0)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > MOST_FILES * 20:
                return
            if entry.name.startswith(".") or entry.name in _SKIPPED or entry.is_symlink():
                continue
            if entry.is_dir():
                if depth < _DEEPEST and not (here / entry.name / "pyvenv.cfg").exists():
                    waiting.append((here / entry.name, f"{before}{entry.name}/", depth + 1))
            elif entry.is_file() and entry.name.endswith(endings):
                yield PurePosixPath(f"{before}{entry.name}")
