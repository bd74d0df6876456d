"""One step's layer: what was added and changed, and markers of what is gone.

Format: OCI image specification 1.1, layers, as an uncompressed POSIX tar. Members stand in the order of their names'
bytes, owned by 0:0, of the time 0, with all twelve permission bits. Every folder on the way to a member is one itself,
since an engine would otherwise give it permissions of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from runner.evidence.content import pack_file
from runner.evidence.history.escape import in_layer, opaque, whiteout
from runner.evidence.history.index import Node, same
from runner.evidence.pack import Packer
from runner.evidence.tarformat import FOLDER, HARDLINK, REGULAR, SYMLINK, raw_header
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


def delta(old: Mapping[RawPath, Node], new: Mapping[RawPath, Node]) -> tuple[set[RawPath], set[RawPath]]:
    """Return the paths that lead from one state of a workspace to the next: those to write, and those that are gone.

    Every folder on the way to a path is one to write. What is gone with a folder, or with a folder that became something
    else, is not named.
    """
    paths = {path for path, node in new.items() if (was := old.get(path)) is None or not same(was, node)}
    gone = set()
    for path in old.keys() - new.keys():
        parent = path.rpartition(b"/")[0]
        if not parent or (parent in new and new[parent].kind == DIRECTORY):
            gone.add(path)
            paths.add(parent)
    for path in list(paths):
        parent = path
        while parent:
            parent = parent.rpartition(b"/")[0]
            if parent in paths:
                break
            paths.add(parent)
    return {*paths, b""}, gone


def plan_layer(old: Mapping[RawPath, Node], new: Mapping[RawPath, Node], *, short: bool = True) -> list[Item]:
    """Return the members that lead from one state of a workspace to the next, in order.

    Args:
        old: what is there.
        new: what is to be there.
        short: whether one marker may stand for all that is gone from a folder. Not in a layer that is put upon layers of
            steps beside it: the marker would take away what those added to the folder.
    """
    paths, gone = delta(old, new)
    folders = defaultdict(list)
    for path in gone:
        folders[path.rpartition(b"/")[0]].append(path)
    staying = {path.rpartition(b"/")[0] for path in old.keys() & new.keys()} if gone else set()
    markers = set()
    for folder, removed in folders.items():
        if short and len(removed) >= _FEW and folder not in staying and folder:
            markers.add(opaque(folder))
        else:
            markers.update(whiteout(path) for path in removed)
    items = [Item(in_layer(path), path) for path in paths]
    return sorted([*items, *(Item(name, None) for name in markers)])


def stacked(
    nodes: Mapping[RawPath, Node], old: Mapping[RawPath, Node], new: Mapping[RawPath, Node]
) -> dict[RawPath, Node]:
    """Return what is there when a step's layer is put upon other layers than those it was made upon.

    Args:
        nodes: what the other layers come to.
        old: what the step found.
        new: what it left.
    """
    paths, gone = delta(old, new)
    covered = {*gone, *(path for path in paths if path and new[path].kind != DIRECTORY)}
    found = {path: node for path, node in nodes.items() if path not in gone and not _below(path, covered)}
    found |= {path: new[path] for path in paths if path}
    return {path: _unlinked(node, found) for path, node in found.items()}


def _below(path: RawPath, covered: set[RawPath]) -> bool:
    """Tell whether a path lies in one that is gone or became something else than a folder."""
    while path and covered:
        path = path.rpartition(b"/")[0]
        if path in covered:
            return True
    return False


def _unlinked(node: Node, nodes: Mapping[RawPath, Node]) -> Node:
    """Return a hard link whose first name is no longer that file as a file of its own, anything else as it is."""
    if node.kind != FILE or not node.target:
        return node
    first = nodes.get(node.target)
    alike = first is not None and first.kind == FILE and not first.target and first.sha256 == node.sha256
    return node if alike else node._replace(target=b"")


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
            head = raw_header(REGULAR, name, size=node.size, mode=node.mode)
            sha256 = pack_file(packer, head, tree.root, path, tree.entries[path])
            nodes[path] = node._replace(sha256=sha256, layer=tree.number, member=b"")
