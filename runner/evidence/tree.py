"""Look at a workspace as a whole: how much is in it, what changed, what nobody may read."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.walk import DIRECTORY, FILE, LONGEST_PATH, Entry, RawPath, change_mode, name_path, opened, walk

_SHOWN = 3
"""Paths a note names before it only counts."""
_NEEDED = {DIRECTORY: stat.S_IRWXU, FILE: stat.S_IRUSR}
"""Permissions of the owner without which a name cannot be collected."""


@dataclass(frozen=True, kw_only=True)
class TreeScan:
    """A tree at one moment and everything in it, as far as it could be looked at."""

    entries: Mapping[RawPath, Entry]
    files: int
    """Regular files; every name of a hard-linked file counts."""
    bytes: int
    """Their apparent sizes together."""
    unreadable: tuple[RawPath, ...] = ()
    """Folders that could not be listed: the rest is not complete then."""
    too_deep: tuple[RawPath, ...] = ()
    """Folders of which not everything was looked at, because of paths longer than LONGEST_PATH."""


@dataclass(frozen=True, kw_only=True)
class TreeChange:
    """Paths that differ between two scans, sorted; a folder counts only if it is empty or its permissions changed."""

    added: tuple[bytes, ...]
    changed: tuple[bytes, ...]
    removed: tuple[bytes, ...]

    @property
    def total(self) -> int:
        return len(self.added) + len(self.changed) + len(self.removed)


def scan(root: Path) -> TreeScan:
    """Look at everything below `root` without following a link or opening anything but folders.

    Raises:
        StorageError: if `root` itself cannot be read; a folder below it that cannot be is listed as unreadable.
    """
    unreadable: list[bytes] = []
    too_deep: list[bytes] = []
    with opened(root) as handle:
        entries = dict(walk(handle, unreadable.append, too_deep.append))
    if b"" in unreadable:
        raise StorageError(f"cannot read {root}", hint="check the owner and the permissions of that folder")
    sizes = [entry.size for entry in entries.values() if entry.kind == FILE]
    return TreeScan(
        entries=entries,
        files=len(sizes),
        bytes=sum(sizes),
        unreadable=tuple(sorted(unreadable)),
        too_deep=tuple(sorted(too_deep)),
    )


def changes(before: TreeScan, after: TreeScan) -> TreeChange:
    """Return what differs between two scans of the same tree, judged without reading any file.

    A file has changed if its kind, permissions, size, modification time, inode or change time differ. No program can
    set the change time, so a rewrite that restores all the rest is seen too; a file that was only touched counts.
    """
    old, new = before.entries, after.entries
    changed = (path for path, entry in new.items() if (was := old.get(path)) is not None and _differ(was, entry))
    return TreeChange(
        added=_leaves([path for path in new if path not in old], new),
        changed=tuple(sorted(changed)),
        removed=_leaves([path for path in old if path not in new], old),
    )


def unlock(root: Path) -> None:
    """Give the owner of a folder its permissions back, should a step have taken them from the folder itself.

    Args:
        root: a folder that a step could write to; one that is not ours is left as it is.
    """
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(root.lstat().st_mode)
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            root.chmod(mode | stat.S_IRWXU)


def make_collectable(root: Path) -> tuple[str, ...]:
    """Give back the permissions to read what a framework left behind, wherever they are ours to give.

    Folders get `u+rwx` and files `u+r`; nothing else about them changes, and no link is followed.

    Returns:
        A sentence for each kind of thing that was changed or could not be.

    Raises:
        StorageError: if `root` itself cannot be read.
    """
    freed: dict[str, list[bytes]] = {DIRECTORY: [], FILE: []}
    refused: list[bytes] = []
    too_deep: list[bytes] = []
    with opened(root) as handle:
        for path, entry in walk(handle, refused.append, too_deep.append):
            needed = _NEEDED.get(entry.kind, 0)
            if entry.mode & needed == needed:
                continue
            # The walk lists a folder only after this, so that what is below it is found as well.
            if change_mode(handle, path, entry.mode | needed):
                freed[entry.kind].append(path)
            elif entry.kind == FILE:
                refused.append(path)
    sentences = {
        "folders were left without permission for their owner and given it": freed[DIRECTORY],
        "files were left unreadable for their owner and made readable": freed[FILE],
        "paths belong to someone else and could not be read": refused,
        f"folders hold paths of more than {LONGEST_PATH} bytes, which are not kept": too_deep,
    }
    return tuple(f"{len(paths)} {words}: {_name_some(paths)}" for words, paths in sentences.items() if paths)


def _differ(was: Entry, now: Entry) -> bool:
    if DIRECTORY in (was.kind, now.kind):
        # A folder's times change with every name in it; those names are counted themselves.
        return was.kind != now.kind or was.mode != now.mode
    return was != now


def _leaves(paths: list[bytes], entries: Mapping[bytes, Entry]) -> tuple[bytes, ...]:
    """Return the paths, sorted, without folders that come or go with something in them."""
    parents = {path.rpartition(b"/")[0] for path in paths}
    return tuple(sorted(path for path in paths if entries[path].kind != DIRECTORY or path not in parents))


def _name_some(paths: Iterable[bytes]) -> str:
    ordered = sorted(paths)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(name_path(path) for path in ordered[:_SHOWN]) + more
