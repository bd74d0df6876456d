"""One step's layer: what was added and changed, and markers of what is gone.

Format: OCI image specification 1.1, layers, as an uncompressed POSIX tar. Members stand in the order of their names'
bytes, owned by 0:0, of the time 0, with all twelve permission bits. Every folder on the way to a member is one itself,
since an engine would otherwise give it permissions of its own.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from runner.evidence.content import read_file
from runner.evidence.history.escape import in_layer, opaque, whiteout
from runner.evidence.history.index import Node, same
from runner.evidence.pack import Packer
from runner.evidence.tarformat import FOLDER, HARDLINK, REGULAR, SYMLINK, padding, raw_header
from runner.evidence.walk import DIRECTORY, FILE, Entry, RawPath

_ROOT_MODE = 0o755
"""Of the workspace itself in a layer: the runner makes that folder, and no step's index has it."""
_FEW = 2
"""Deletions in one folder from which on one marker of the whole folder is shorter."""


class Item(NamedTuple):
    """A member to write."""

    name: bytes
    """In the layer, without a folder's slash."""
    path: RawPath | None
    """In the workspace; None for a marker that something is gone."""


class Tree(NamedTuple):
    """A workspace that somebody has just looked at."""

    root: int
    """Handle of the folder."""
    entries: Mapping[RawPath, Entry]
    number: int
    """Of the step it is the state after."""


def plan_layer(old: Mapping[RawPath, Node], new: Mapping[RawPath, Node]) -> list[Item]:
    """Return the members that lead from one state of a workspace to the next, in order."""
    paths = {path for path, node in new.items() if (was := old.get(path)) is None or not same(was, node)}
    markers = set()
    gone = defaultdict(list)
    for path in old.keys() - new.keys():
        parent = path.rpartition(b"/")[0]
        if not parent or (parent in new and new[parent].kind == DIRECTORY):
            gone[parent].append(path)
    staying = {path.rpartition(b"/")[0] for path in old.keys() & new.keys()} if gone else set()
    for folder, removed in gone.items():
        if len(removed) >= _FEW and folder not in staying and folder:
            markers.add(opaque(folder))
        else:
            markers.update(whiteout(path) for path in removed)
        paths.add(folder)
    for path in list(paths):
        parent = path
        while parent:
            parent = parent.rpartition(b"/")[0]
            if parent in paths:
                break
            paths.add(parent)
    items = [Item(in_layer(path), path) for path in {*paths, b""}]
    return sorted([*items, *(Item(name, None) for name in markers)])


def write_layer(packer: Packer, tree: Tree, items: list[Item], nodes: dict[RawPath, Node]) -> None:
    """Write members, and note in their nodes what their content is and that this layer has it.

    Of the names of one hard-linked file the first in the layer has the content, the others are hard links to it: a
    layer may not link to a member of another.

    Args:
        packer: takes the tar.
        tree: the workspace.
        items: the members.
        nodes: the workspace's nodes; those of files written are completed.

    Raises:
        OSError: if a file cannot be read or the layer not be written.
        Changed: if a file changes meanwhile.
    """
    leaders: dict[RawPath, RawPath] = {}
    for name, path in items:
        node = nodes.get(path) if path else None
        if path is None:
            packer.write(raw_header(REGULAR, name, mode=0))
        elif node is None or node.kind == DIRECTORY:
            packer.write(raw_header(FOLDER, name + b"/", mode=node.mode if node else _ROOT_MODE))
        elif node.kind != FILE:
            packer.write(raw_header(SYMLINK, name, target=node.target, mode=node.mode))
        elif (leader := leaders.setdefault(node.target or path, path)) != path:
            packer.write(raw_header(HARDLINK, name, target=in_layer(leader), mode=node.mode))
            nodes[path] = node._replace(sha256=nodes[leader].sha256, layer=tree.number, member=leader)
        else:
            packer.write(raw_header(REGULAR, name, size=node.size, mode=node.mode))
            nodes[path] = node._replace(sha256=_content(packer, tree, path), layer=tree.number, member=b"")


def _content(packer: Packer, tree: Tree, path: RawPath) -> str:
    digest, entry = hashlib.sha256(), tree.entries[path]
    for chunk in read_file(tree.root, path, entry):
        digest.update(chunk)
        packer.write(chunk)
    packer.write(padding(entry.size))
    return digest.hexdigest()
