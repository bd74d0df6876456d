"""Merge image layers into one whose bytes depend on what is in it, not on who built it, when, or on which engine.

What is taken away on the way: build inputs, logs, caches and lock files of package managers, files that the engine
puts into every container. Times are all set to one date, so that a wrong clock makes no difference either.
Layer format: OCI image layer, whiteouts `.wh.NAME` and opaque marker `.wh..wh..opq`.
"""

from __future__ import annotations

import fnmatch
import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from runner.images.cas import copy_range
from runner.images.tarball import DIRECTORY, FILE, HARDLINK, SYMLINK, Entry, archive

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."

UNWANTED = (
    "artifacts",
    "artifacts/*",
    ".dockerenv",
    "dev/*",
    "proc/*",
    "sys/*",
    "run/*",
    "tmp/*",
    "var/tmp/*",
    "var/log/*",
    "var/cache/apt/*",
    "var/cache/ldconfig/*",
    "var/cache/debconf/*-old",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "etc/*-",
    "etc/.pwd.lock",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "root/.cache",
    "root/.cache/*",
    "root/.npm",
    "root/.npm/*",
)
"""Patterns of paths that never go into an image; `*` also matches `/`."""

WANTED_DIRECTORIES = {
    "run/gateway": 0o755,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
    "var/log": 0o755,
    "workspace": 0o755,
    "state": 0o755,
    "in": 0o755,
    "out": 0o755,
    "opt/framework": 0o755,
    "proc": 0o755,
    "sys": 0o755,
    "dev": 0o755,
}
"""Mount points and standard folders of the base image, there whatever the build left."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One path of a file tree; `file`, `offset` say where its bytes are. Hard links share the object of `inode`."""

    entry: Entry
    file: Path | None = None
    offset: int = 0
    inode: object = None


Tree = dict[str, Node]


def read_layer(tree: Tree, file: Path, offset: int = 0) -> None:
    """Apply one uncompressed layer, found at `offset` in a file, to a tree of paths."""
    with file.open("rb") as raw:
        raw.seek(offset)
        with tarfile.open(fileobj=raw, mode="r:", errorlevel=2) as layer:
            for member in layer:
                _apply(tree, member, file)


def _apply(tree: Tree, member: tarfile.TarInfo, file: Path) -> None:
    path = member.name.removeprefix("./").strip("/")
    folder, _, name = path.rpartition("/")
    if name == _OPAQUE:
        _remove(tree, folder, keep_itself=True)
    elif name.startswith(_WHITEOUT):
        _remove(tree, f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/"))
    elif path not in {"", "."}:
        if member.islnk():
            target = tree[member.linkname.removeprefix("./").strip("/")]
            node = Node(
                entry=replace(target.entry, path=path), file=target.file, offset=target.offset, inode=target.inode
            )
        else:
            node = Node(entry=_entry(path, member), file=file, offset=member.offset_data, inode=object())
        if path in tree and tree[path].entry.type == DIRECTORY and node.entry.type != DIRECTORY:
            _remove(tree, path)
        tree[path] = node


def _entry(path: str, member: tarfile.TarInfo) -> Entry:
    xattrs = {name.removeprefix(_XATTR): value for name, value in member.pax_headers.items() if name.startswith(_XATTR)}
    kind = FILE if member.isreg() else member.type
    return Entry(
        path=path,
        type=kind,
        mode=0o777 if kind == SYMLINK else member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        mtime=int(member.mtime),
        size=member.size if kind == FILE else 0,
        link=member.linkname if kind == SYMLINK else "",
        device=(member.devmajor, member.devminor) if member.ischr() or member.isblk() else (0, 0),
        xattrs=xattrs,
    )


def _remove(tree: Tree, path: str, *, keep_itself: bool = False) -> None:
    for name in [name for name in tree if name.startswith(path + "/")]:
        del tree[name]
    if not keep_itself:
        tree.pop(path, None)


def is_unwanted(path: str) -> bool:
    """Tell whether a path is dropped from every image."""
    return path not in WANTED_DIRECTORIES and any(fnmatch.fnmatchcase(path, pattern) for pattern in UNWANTED)


def difference(base: Mapping[str, Node], full: Mapping[str, Node]) -> list[Node]:
    """List what must be laid over `base` to get `full`, parents included, sorted by path bytes.

    A path that was only touched, or rewritten with the same content, is not in it, and every folder that leads to a
    listed path is, with the attributes it has in `full`: so the result does not depend on how an engine found it.
    """
    changed = {
        path: node
        for path, node in full.items()
        if not is_unwanted(path) and (path not in base or not same(base[path], node))
    }
    for path in base.keys() - full.keys():
        parent = _parent(path)
        if not is_unwanted(path) and (not parent or (parent in full and full[parent].entry.type == DIRECTORY)):
            marker = f"{parent}/{_WHITEOUT}{path.removeprefix(parent).lstrip('/')}".lstrip("/")
            changed[marker] = Node(entry=Entry(path=marker, mode=0o600), inode=object())
    for path in list(changed):
        parent = _parent(path)
        while parent and parent not in changed:
            changed[parent] = full.get(parent) or Node(entry=Entry(path=parent, type=DIRECTORY, mode=0o755))
            parent = _parent(parent)
    return [changed[path] for path in sorted(changed, key=lambda path: path.encode("utf-8", "surrogateescape"))]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def same(one: Node, other: Node) -> bool:
    """Compare two nodes in everything that is kept: type, mode, owner, link, extended attributes and content."""
    if one is other:
        return True
    if replace(one.entry, mtime=0) != replace(other.entry, mtime=0):
        return False
    if one.entry.type != FILE or (one.file == other.file and one.offset == other.offset):
        return True
    return content_digest(one) == content_digest(other)


def content_digest(node: Node) -> str:
    """Return the sha256 of a regular file's bytes."""
    digest = hashlib.sha256()
    if node.file is not None:
        with node.file.open("rb") as file:
            for chunk in copy_range(file, node.offset, node.entry.size):
                digest.update(chunk)
    return digest.hexdigest()


def write_layer(nodes: Sequence[Node], target: Path, *, date: int) -> str:
    """Write a layer of sorted nodes to a file, every time set to `date` (seconds since the epoch).

    Returns:
        its diff id, `sha256:...` of the uncompressed bytes.
    """
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for chunk in archive(_members(nodes, date)):
            digest.update(chunk)
            out.write(chunk)
    return f"sha256:{digest.hexdigest()}"


def _members(nodes: Sequence[Node], date: int) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield entries with their bytes; of hard-linked paths the first in order carries the content."""
    first: dict[int, str] = {}
    files: dict[Path, IO[bytes]] = {}
    try:
        for node in nodes:
            entry = replace(node.entry, mtime=date)
            leader = first.setdefault(id(node.inode), entry.path) if entry.type == FILE else entry.path
            if leader != entry.path:
                yield replace(entry, type=HARDLINK, link=leader, size=0, xattrs={}), iter(())
            elif entry.type == FILE and node.file is not None:
                file = files.get(node.file) or files.setdefault(node.file, node.file.open("rb"))
                yield entry, copy_range(file, node.offset, entry.size)
            else:
                yield entry, iter(())
    finally:
        for file in files.values():
            file.close()
