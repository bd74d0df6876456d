"""Compare the workspaces of two steps, of one run or of two: from their indexes alone, until content is to be shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.evidence.history.index import Node
from runner.evidence.history.members import Wanted, read_members
from runner.evidence.history.oci import KeptStep, read_index
from runner.evidence.history.snapshot import compare
from runner.evidence.walk import DIRECTORY, FILE, LINK, RawPath, show_path

MOST_TEXT = 1024 * 1024
"""Bytes of the largest file whose lines are compared."""
MOST_FILES = 1000
"""Files whose lines are compared; of others only the names and sizes are told."""
_BINARY_WITHIN = 8000
"""Bytes at the start of a file in which a NUL makes it binary."""


@dataclass(frozen=True, kw_only=True)
class State:
    """A step's workspace in a run's history."""

    history: Path
    step: KeptStep
    nodes: Mapping[RawPath, Node]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One path that differs."""

    path: RawPath
    old: Node | None
    new: Node | None

    @property
    def how(self) -> str:
        """The word for it: added, removed or changed."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"

    @property
    def bytes(self) -> int:
        """How much larger the path's content is now, in bytes; negative if smaller."""
        return (self.new.size if self.new else 0) - (self.old.size if self.old else 0)


@dataclass(frozen=True, kw_only=True)
class TextDiff:
    """How the content of one path differs."""

    change: Change
    lines: tuple[str, ...]
    """Of a unified diff, without its head; empty if the content is not compared."""
    reason: str
    """Why it is not compared; empty if it is."""
    added: int
    removed: int


def state(history: Path, step: KeptStep) -> State:
    """Return a step's workspace as its index has it; no file is read.

    Raises:
        StorageError: if the index is missing or damaged.
    """
    return State(history=history, step=step, nodes=read_index(history, step).nodes)


def differences(old: State, new: State) -> tuple[Change, ...]:
    """Return the paths that differ, sorted by their bytes; see `snapshot.compare` for what counts."""
    added, changed, removed = compare(old.nodes, new.nodes)
    paths = sorted([*added, *changed, *removed])
    return tuple(Change(path=path, old=old.nodes.get(path), new=new.nodes.get(path)) for path in paths)


def text_diffs(old: State, new: State, changes: Sequence[Change], context: int = 3) -> Iterator[TextDiff]:
    """Yield how the content of each path differs, reading only what is shown.

    Raises:
        StorageError: if a layer is missing or damaged.
    """
    shown = [one for one in changes if _comparable(one.old) and _comparable(one.new)][:MOST_FILES]
    was = _read(old, [one.path for one in shown if one.old is not None])
    now = _read(new, [one.path for one in shown if one.new is not None])
    chosen = {one.path for one in shown}
    for change in changes:
        if change.path in chosen:
            yield _text_diff(change, was.get(change.path, b""), now.get(change.path, b""), context)
        else:
            yield TextDiff(change=change, lines=(), reason=_reason(change), added=0, removed=0)


def describe(node: Node) -> str:
    """Return what a path is, in a few words without its content."""
    match node.kind:
        case "directory":
            return f"folder, mode {node.mode:04o}"
        case "link":
            return f"link to {show_path(node.target)}"
        case _:
            return f"file of {node.size} bytes, mode {node.mode:04o}"


def _comparable(node: Node | None) -> bool:
    return node is None or (node.kind == FILE and node.size <= MOST_TEXT)


def _reason(change: Change) -> str:
    sides = [node for node in (change.old, change.new) if node is not None]
    if any(node.kind in {DIRECTORY, LINK} for node in sides):
        return " -> ".join(describe(node) if node else "nothing" for node in (change.old, change.new))
    if any(node.size > MOST_TEXT for node in sides):
        return f"larger than {MOST_TEXT} bytes"
    return f"more than {MOST_FILES} files differ"


def _read(side: State, paths: Sequence[RawPath]) -> dict[RawPath, bytes]:
    found: dict[RawPath, bytes] = {}

    def receive(one: Wanted, content: Iterator[bytes]) -> None:
        data = b"".join(content)
        found.update(dict.fromkeys(one.paths, data))

    read_members(side.history, side.step, {path: side.nodes[path] for path in paths}, receive)
    return found


def _text_diff(change: Change, old: bytes, new: bytes, context: int) -> TextDiff:
    if old == new:
        reason = " -> ".join(describe(node) if node else "nothing" for node in (change.old, change.new))
        return TextDiff(change=change, lines=(), reason=reason, added=0, removed=0)
    if b"\0" in old[:_BINARY_WITHIN] or b"\0" in new[:_BINARY_WITHIN]:
        return TextDiff(change=change, lines=(), reason=f"binary, {len(old)} -> {len(new)} bytes", added=0, removed=0)
    _, _, *lines = [*difflib.unified_diff(_lines(old), _lines(new), n=context, lineterm="")] or ["", ""]
    return TextDiff(
        change=change,
        lines=tuple(lines),
        reason="",
        added=sum(line.startswith("+") for line in lines),
        removed=sum(line.startswith("-") for line in lines),
    )


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    if lines[-1]:
        # The same words that diff(1) uses, within the line, so that it differs from one that has its end.
        lines[-1] += "\n\\ No newline at end of file"
    else:
        lines.pop()
    return lines
