"""Give back the workspace as it was after a step: exactly that, in a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from runner.errors import ConfigError
from runner.evidence.atomic import TEMPORARY_PREFIX, storage_error
from runner.evidence.history.index import Index, Node
from runner.evidence.history.members import Wanted, read_members
from runner.evidence.history.oci import KeptStep, read_index
from runner.evidence.walk import DIRECTORY, FILE, LINK, RawPath, open_below, opened

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_PRIVATE = 0o700
_CHUNK = 1024 * 1024
_HOLE = bytes(64 * 1024)
"""Zeros that are left as a hole, so that a sparse file stays small."""


def restore(history: Path, step: KeptStep, target: Path) -> Index:
    """Write a step's workspace into a new folder that only its owner can enter.

    Content, names, permissions, symbolic and hard links are what they were; times and owners are of now and of whoever
    does it. It appears whole or not at all. A link is made, never followed; a path that leads out is refused.

    Args:
        history: the run's folder `history`.
        step: one of its steps.
        target: must not exist, or be an empty folder.

    Returns:
        What is there; its `skipped` says what was there and is not kept.

    Raises:
        ConfigError: if there is something at `target`.
        StorageError: if the history is damaged, naming the member, or the target cannot be written.
    """
    index = read_index(history, step)
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise ConfigError(f"there is something at {target}", hint="name a folder that does not exist yet")
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    try:
        temporary.mkdir(_PRIVATE, parents=True)
        try:
            _fill(history, step, index, temporary)
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise storage_error(f"cannot write {target}", error) from error
    return index


def _fill(history: Path, step: KeptStep, index: Index, target: Path) -> None:
    with opened(target) as root, _Tree(root) as tree:
        folders = sorted(path for path, node in index.nodes.items() if node.kind == DIRECTORY)
        for path in folders:
            parent, name = tree.at(path)
            os.mkdir(name, _PRIVATE, dir_fd=parent)
        own = {path: node for path, node in index.nodes.items() if not node.target}
        read_members(history, step, own, lambda one, content: _write_all(tree, own, one, content))
        for path, node in index.nodes.items():
            if node.kind == FILE and node.target:
                tree.link(node.target, path)
        for path, node in index.nodes.items():
            if node.kind == LINK:
                parent, name = tree.at(path)
                os.symlink(node.target, name, dir_fd=parent)
        # Permissions come last, of folders the deepest first: a mode may forbid its owner to read or look into it.
        files = [path for path, node in index.nodes.items() if node.kind == FILE]
        for path in (*files, *reversed(folders)):
            parent, name = tree.at(path)
            os.chmod(name, index.nodes[path].mode, dir_fd=parent)


def _write_all(tree: _Tree, nodes: Mapping[RawPath, Node], one: Wanted, content: Iterator[bytes]) -> None:
    """Write one content under all its paths: files that were one when they were kept and are no longer."""
    first, *others = one.paths
    _write(tree, first, nodes[first], content)
    for path in others:
        _write(tree, path, nodes[path], tree.read(first))


def _write(tree: _Tree, path: RawPath, node: Node, content: Iterable[bytes]) -> None:
    parent, name = tree.at(path)
    with os.fdopen(os.open(name, _CREATE, 0o600, dir_fd=parent), "wb") as stream:
        for chunk in content:
            for start in range(0, len(chunk), len(_HOLE)):
                piece = chunk[start : start + len(_HOLE)]
                if piece == _HOLE:
                    stream.seek(len(piece), os.SEEK_CUR)
                else:
                    stream.write(piece)
        stream.truncate(node.size)


class _Tree:
    """Folders below a handle, the last one kept open: files of one folder follow each other."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._folder = b""
        self._handle: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def at(self, path: RawPath) -> tuple[int, bytes]:
        """Return the handle of a path's folder, good until the next call, and the path's name in it."""
        folder, _, name = path.rpartition(b"/")
        if self._handle is None or folder != self._folder:
            self._close()
            self._handle, self._folder = open_below(self._root, folder, _FOLDER), folder
        return self._handle, name

    def link(self, path: RawPath, other: RawPath) -> None:
        """Give a file a second name."""
        folder, _, name = path.rpartition(b"/")
        source = open_below(self._root, folder, _FOLDER)
        try:
            parent, new = self.at(other)
            os.link(name, new, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def read(self, path: RawPath) -> Iterator[bytes]:
        """Yield the content of a file that was written here."""
        with os.fdopen(open_below(self._root, path, os.O_RDONLY), "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
