"""Give back the workspace as it was after a step: exactly that, in a folder of its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ConfigError
from runner.evidence.atomic import TEMPORARY_PREFIX, storage_error
from runner.evidence.copying import remove_tree
from runner.evidence.folders import Folders
from runner.evidence.history.index import Index, Node, same
from runner.evidence.history.members import Wanted, read_members
from runner.evidence.history.oci import KeptStep, read_index
from runner.evidence.walk import DIRECTORY, FILE, LINK, RawPath, opened

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_PRIVATE = 0o700
_HOLE = bytes(64 * 1024)
"""Zeros that are left as a hole, so that a sparse file stays small."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """A folder that has files which are to be had again, and what it holds."""

    root: Path
    nodes: Mapping[RawPath, Node]


def restore(history: Path, step: KeptStep, target: Path, like: Likeness | None = None) -> Index:
    """Write a step's workspace into a new folder that only its owner can enter.

    Content, names, permissions, symbolic and hard links are what they were; times and owners are of now and of whoever
    does it. It appears whole or not at all. A link is made, never followed; a path that leads out is refused.

    Args:
        history: the run's folder `history`.
        step: one of its steps.
        target: must not exist, or be an empty folder.
        like: where equal files are taken from as hard links, so that they take no room; who changes one changes both.

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
            _fill(history, step, index, temporary, like)
            temporary.replace(target)
        finally:
            remove_tree(temporary)
    except OSError as error:
        raise storage_error(f"cannot write {target}", error) from error
    return index


def _fill(history: Path, step: KeptStep, index: Index, target: Path, like: Likeness | None) -> None:
    with opened(target) as root, Folders(root) as tree:
        folders = sorted(path for path, node in index.nodes.items() if node.kind == DIRECTORY)
        for path in folders:
            parent, name = tree.at(path)
            os.mkdir(name, _PRIVATE, dir_fd=parent)
        own = {path: node for path, node in index.nodes.items() if not node.target}
        if like is not None:
            own = _link_alike(tree, own, like)
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


def _link_alike(tree: Folders, nodes: Mapping[RawPath, Node], like: Likeness) -> dict[RawPath, Node]:
    """Make hard links of the files that are the same elsewhere, and return the rest."""
    rest = {}
    with opened(like.root) as root, Folders(root) as other:
        for path, node in nodes.items():
            was = like.nodes.get(path)
            if node.kind != FILE or was is None or not same(was, node):
                rest[path] = node
                continue
            parent, name = tree.at(path)
            source, _ = other.at(path)
            os.link(name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
    return rest


def _write_all(tree: Folders, nodes: Mapping[RawPath, Node], one: Wanted, content: Iterator[bytes]) -> None:
    """Write one content under all its paths: files that were one when they were kept and are no longer."""
    first, *others = one.paths
    _write(tree, first, nodes[first], content)
    for path in others:
        _write(tree, path, nodes[path], tree.read(first))


def _write(tree: Folders, path: RawPath, node: Node, content: Iterable[bytes]) -> None:
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
