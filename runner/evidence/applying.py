"""Carry changes of copies over into the tree they were copied from, or into another copy of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from runner.evidence.atomic import storage_error
from runner.evidence.copying import Copier, copy_entry, lock, needs_unlocking, remove_below, unlock
from runner.evidence.folders import Folders
from runner.evidence.merge import Changes, parents
from runner.evidence.tree import scan
from runner.evidence.walk import DIRECTORY, FILE, Entry, RawPath, opened

_PRIVATE = 0o700


def apply(target: Path, chosen: Mapping[RawPath, Changes], *, move: bool) -> None:
    """Give each path of a tree the state that one of the changes has of it; nothing else in the tree is touched.

    Names of one file stay names of one file, as far as the tree has the rest of them as the step found them. No file is
    written into: what has another name elsewhere keeps its content there.

    Args:
        target: the tree's folder.
        chosen: whose result counts, by path.
        move: whether the files may be taken out of the changes' own trees, which costs nothing; else they are copied.

    Raises:
        StorageError: if something cannot be read or written; the tree is half done then.
    """
    if not chosen:
        return
    try:
        entries, locked = unlock(target, scan(target))
        with opened(target) as root, ExitStack() as stack:
            tree = stack.enter_context(Folders(root))
            work = _Work(tree, entries, chosen, stack, move=move)
            work.clear()
            work.make_folders()
            work.bring()
            work.set_modes()
        lock(target, {path: mode for path, mode in locked.items() if path not in chosen})
    except OSError as error:
        raise storage_error(f"changes cannot be carried over into {target}", error) from error


class _Work:
    """One application in the making."""

    def __init__(
        self,
        tree: Folders,
        entries: Mapping[RawPath, Entry],
        chosen: Mapping[RawPath, Changes],
        stack: ExitStack,
        *,
        move: bool,
    ) -> None:
        self._tree = tree
        self._there = dict(entries)
        self._chosen = dict(sorted(chosen.items()))
        self._move = move
        self._copier = Copier()
        self._sources: dict[int, Folders] = {}
        self._first: dict[int, dict[int, RawPath]] = {}
        self._kept: dict[int, dict[int, RawPath]] = {}
        for one in self._chosen.values():
            if id(one) not in self._sources:
                self._sources[id(one)] = stack.enter_context(Folders(stack.enter_context(opened(one.root))))
                self._first[id(one)] = {}
                self._kept[id(one)] = self._unchanged_names(one)

    def clear(self) -> None:
        """Remove what has to go, or is in the way; folders that stay folders stay."""
        gone: set[RawPath] = set()
        for path, one in self._chosen.items():
            there, wanted = self._there.get(path), one.result(path)
            if any(parent in gone for parent in parents(path)):
                self._there.pop(path, None)
            elif there is not None and not (wanted and wanted.kind == there.kind == DIRECTORY):
                self._tree.forget()
                remove_below(self._tree.root, path)
                if there.kind == DIRECTORY:
                    gone.add(path)
                del self._there[path]

    def make_folders(self) -> None:
        """Make the folders that are new."""
        for path, one in self._chosen.items():
            wanted = one.result(path)
            if wanted is not None and wanted.kind == DIRECTORY and self._there.get(path) is None:
                parent, name = self._tree.at(path)
                os.mkdir(name, _PRIVATE, dir_fd=parent)

    def bring(self) -> None:
        """Bring everything but folders."""
        for path, one in self._chosen.items():
            wanted = one.result(path)
            if wanted is None or wanted.kind == DIRECTORY:
                continue
            twin = self._kept[id(one)].get(wanted.inode) if wanted.kind == FILE else None
            if twin is not None:
                self._tree.link(twin, path)
            elif self._move:
                self._take(path, one, wanted)
            else:
                source = self._sources[id(one)]
                copy_entry(self._copier, (source, path), (self._tree, path), wanted, self._first[id(one)])

    def set_modes(self) -> None:
        """Give folders their permissions, the deepest first: a mode may forbid its owner to look into it."""
        for path, one in reversed(self._chosen.items()):
            wanted = one.result(path)
            if wanted is not None and wanted.kind == DIRECTORY:
                parent, name = self._tree.at(path)
                os.chmod(name, wanted.mode, dir_fd=parent)
                os.utime(name, ns=(wanted.mtime_ns, wanted.mtime_ns), dir_fd=parent)

    def _take(self, path: RawPath, one: Changes, wanted: Entry) -> None:
        """Move a name; the names of one file that are moved one by one stay one file."""
        source, own = self._sources[id(one)].at(path)
        parent, name = self._tree.at(path)
        os.rename(own, name, src_dir_fd=source, dst_dir_fd=parent)
        if needs_unlocking(wanted):
            os.chmod(name, wanted.mode, dir_fd=parent)

    def _unchanged_names(self, one: Changes) -> dict[int, RawPath]:
        """Return, by inode in a step's tree, a name of the file that the step left as it was and the tree has so too."""
        changed = {entry.inode for path in one.paths if (entry := one.result(path)) is not None and entry.kind == FILE}
        return {
            entry.inode: path
            for path, entry in one.after.items()
            if entry.inode in changed
            and path not in one.paths
            and path not in self._chosen
            and (there := self._there.get(path)) is not None
            and (there.kind, there.size, there.mtime_ns) == (FILE, entry.size, entry.mtime_ns)
        }
