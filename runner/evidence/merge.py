"""Bring the changes together that steps made to copies of one tree, and find where they exclude each other.

A step's changes are the paths whose state differs from what it found, each with what is there now: a file, a folder, a
link, or nothing. Of two steps that did not know of each other, one excludes the other if a path of both has different
results, or if one left no folder where the other has something below. All other changes have one outcome, in whatever
order they are brought together.
"""

from __future__ import annotations

import filecmp
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.walk import DIRECTORY, FILE, LINK, Entry, RawPath, open_below, opened, show_path


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What one step changed of a tree."""

    step: str
    index: int
    """Position of the step: later ones prevail among steps of which one knew the other."""
    root: Path
    """Folder of the tree as the step left it."""
    paths: frozenset[RawPath]
    """What differs from what the step found; everything below a folder that is gone included."""
    after: Mapping[RawPath, Entry]
    """Everything in the tree."""

    def result(self, path: RawPath) -> Entry | None:
        """Return what is at a path now; None for nothing."""
        return self.after.get(path)


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Two steps whose changes exclude each other at a path."""

    path: RawPath
    """Where both have a result, or the lower one of two paths."""
    sides: tuple[tuple[Changes, RawPath], tuple[Changes, RawPath]]
    """Each step and its path: the same, or the first one's is a folder on the way to the second's."""

    def __str__(self) -> str:
        (one, upper), (other, path) = self.sides
        if upper == path:
            return f"{show_path(path)} ({one.step}: {_told(one, path)}; {other.step}: {_told(other, path)})"
        return f"{show_path(path)} ({other.step}: {_told(other, path)}; {one.step}: {show_path(upper)} {_told(one, upper)})"


Beside = Callable[[Changes, Changes], bool]
"""Tells whether neither of two steps knew what the other did."""
Equal = Callable[[Changes, Changes, RawPath], bool]
"""Tells whether two steps left files of the same content at a path; all else of the two is alike."""


def changed_paths(
    before: Mapping[RawPath, Entry], after: Mapping[RawPath, Entry], same_content: Callable[[RawPath], bool]
) -> frozenset[RawPath]:
    """Return the paths whose kind, permissions, content or target differ; times alone do not count.

    Args:
        before: what was there.
        after: what is there.
        same_content: asked about files that were touched and have the size they had.
    """
    found = {path for path in before if path not in after}
    for path, now in after.items():
        was = before.get(path)
        if was is None or (was != now and not (_alike(was, now) and (now.kind != FILE or same_content(path)))):
            found.add(path)
    return frozenset(found)


def conflicts(changes: Sequence[Changes], beside: Beside, equal: Equal) -> tuple[Conflict, ...]:
    """Return where changes exclude each other, sorted by path; see the module for when they do."""
    writers: dict[RawPath, list[Changes]] = defaultdict(list)
    covers: dict[RawPath, list[Changes]] = defaultdict(list)
    for one in sorted(changes, key=lambda one: one.index):
        for path in one.paths:
            writers[path].append(one)
            if not _is_folder(one.result(path)):
                covers[path].append(one)
    found = {}
    for path, several in writers.items():
        for one, other in combinations(several, 2):
            if beside(one, other) and not _equal(one, other, path, equal):
                found[path, one.index, other.index] = Conflict(path=path, sides=((one, path), (other, path)))
    for one, upper, other, path in _covered(writers, covers):
        if beside(one, other):
            # The uppermost folder that is not there says more than the path itself, of which nothing can be left then.
            key = (path, min(one.index, other.index), max(one.index, other.index))
            found[key] = Conflict(path=path, sides=((one, upper), (other, path)))
    return tuple(found[key] for key in sorted(found))


def settle(changes: Iterable[Changes]) -> dict[RawPath, Changes]:
    """Return whose result counts at each path: that of the step with the highest position.

    Where nothing excludes anything this is the outcome of all changes. Else it is what comes nearest to the changes of
    the later step: what lies below a folder that it replaced goes, and a folder that it needs stays.
    """
    chosen: dict[RawPath, Changes] = {}
    folders: set[RawPath] = set()
    for one in sorted(changes, key=lambda one: one.index):
        for path in sorted(one.paths):
            result = one.result(path)
            if path in folders and not _is_folder(result):
                for lower in [other for other in chosen if other.startswith(path + b"/")]:
                    del chosen[lower]
            above = [*parents(path)]
            if result is not None:
                for parent in above:
                    if (holder := chosen.get(parent)) is not None and not _is_folder(holder.result(parent)):
                        chosen[parent] = one
            chosen[path] = one
            folders.update(above)
    return chosen


def without(chosen: Mapping[RawPath, Changes], found: Iterable[Conflict]) -> dict[RawPath, Changes]:
    """Return what is left when everything at or below the paths of conflicts is left as it is."""
    disputed = {conflict.sides[0][1] for conflict in found}
    return {
        path: one
        for path, one in chosen.items()
        if path not in disputed and not any(parent in disputed for parent in parents(path))
    }


def same_bytes(one: Path, other: Path, path: RawPath) -> bool:
    """Tell whether two trees have files of the same content at a path; False if one of them is not there to be read.

    Raises:
        StorageError: if one of the trees cannot be read.
    """
    with opened(one) as first, opened(other) as second:
        try:
            handles = [open_below(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) for root in (first, second)]
        except OSError:
            return False
        try:
            # By handle: the path may lead through links that a step made.
            return filecmp.cmp(f"/proc/self/fd/{handles[0]}", f"/proc/self/fd/{handles[1]}", shallow=False)
        except OSError as error:
            raise StorageError(f"{show_path(path)} cannot be compared", why=str(error)) from error
        finally:
            for handle in handles:
                os.close(handle)


def _covered(
    writers: Mapping[RawPath, Sequence[Changes]], covers: Mapping[RawPath, Sequence[Changes]]
) -> Iterator[tuple[Changes, RawPath, Changes, RawPath]]:
    """Yield each step that left no folder at a path, and another that has something below it, nearest first."""
    for path, several in writers.items():
        for upper in parents(path):
            for one in covers.get(upper, ()):
                for other in several:
                    if other is not one and other.result(path) is not None:
                        yield one, upper, other, path


def parents(path: RawPath) -> Iterator[RawPath]:
    """Yield the folders on the way to a path, nearest first."""
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _alike(one: Entry, other: Entry) -> bool:
    """Tell whether two entries are alike in all but times and content."""
    if one.kind != other.kind:
        return False
    if one.kind == LINK:
        return one.target == other.target
    return one.mode == other.mode and (one.kind != FILE or one.size == other.size)


def _equal(one: Changes, other: Changes, path: RawPath, equal: Equal) -> bool:
    """Tell whether two steps have the same result at a path."""
    first, second = one.result(path), other.result(path)
    if first is None or second is None:
        return first is second
    return _alike(first, second) and (first.kind != FILE or equal(one, other, path))


def _is_folder(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == DIRECTORY


def _told(changes: Changes, path: RawPath) -> str:
    """Return what a step has at a path, in a few words."""
    entry = changes.result(path)
    if entry is None:
        return "removed"
    match entry.kind:
        case "directory":
            return f"a folder, mode {entry.mode:04o}"
        case "link":
            return f"a link to {show_path(entry.target)}"
        case "file":
            return f"{entry.size} bytes, mode {entry.mode:04o}"
        case other:
            return f"a {other}"
