"""What a workspace held after a step: every path, and which layer has its content.

Kept beside the layers, so that two steps are compared and one is found again without reading any layer. Format: lines
of JSON, compressed: first what the index is of, then one array per path, sorted by the bytes of the path. A byte of a
name that is no UTF-8 stands as an escaped lone surrogate, U+DC80 to U+DCFF, as Python's `surrogateescape` has it.
"""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import zstandard

from runner.errors import StorageError
from runner.evidence.compress import DECOMPRESSION_ERRORS, compressor
from runner.evidence.manifest import Skipped
from runner.evidence.walk import DIRECTORY, FILE, LINK, RawPath, show_path

VERSION = 1
LARGEST = 256 * 1024**2
"""Bytes of an index, not compressed: it comes from a file, which may be anybody's."""
MOST = 2_000_000
"""Paths of an index: lines that somebody made up are short, and each takes room once it is read."""
_LONGEST_LINE = 16 * 1024**2
_CHUNK = 1024 * 1024
_DIGEST = 64
_KINDS = {FILE: "f", DIRECTORY: "d", LINK: "l"}


class Node(NamedTuple):
    """One path of a workspace."""

    kind: str
    mode: int
    """Permission bits, all twelve."""
    size: int = 0
    """Bytes of a file; 0 of everything else."""
    sha256: str = ""
    """Of a file's content."""
    target: bytes = b""
    """Where a symbolic link points, or the first path, by its bytes, of the same hard-linked file."""
    layer: int = 0
    """Number of the step whose layer has a file's content."""
    member: bytes = b""
    """Path whose member in that layer has the content, if it is not its own."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """A workspace after a step."""

    nodes: Mapping[RawPath, Node] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    """What was there and is not kept, and why."""


def same(one: Node, other: Node) -> bool:
    """Tell whether two nodes are alike in all that is kept: kind, permissions, content, links."""
    return one[:5] == other[:5]


def encode(index: Index) -> bytes:
    """Return an index as bytes; equal ones give equal bytes.

    Raises:
        StorageError: if it is larger than one that is read again.
    """
    head = {"version": VERSION, "skipped": [[_text(one.path), one.reason] for one in index.skipped]}
    lines = [json.dumps(head)]
    lines += [_line(path, node) for path, node in sorted(index.nodes.items())]
    text = "\n".join(lines).encode("ascii")
    if len(text) > LARGEST or len(index.nodes) > MOST:
        raise StorageError(
            f"the workspace cannot be kept: {len(index.nodes)} paths are more than the history can list",
            hint="leave some of them out with `exclude_files`, or say `history: off`",
        )
    packed = compressor("zstd")
    return packed.compress(text) + packed.flush()


def decode(data: bytes) -> Index:
    """Read an index.

    Raises:
        StorageError: if it is none, or names paths that no workspace can have.
    """
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as stream:
            lines = _lines(io.BufferedReader(cast("io.RawIOBase", stream), _CHUNK))
            head: Any = next(lines, None)
            nodes = _nodes(lines)
        skipped = tuple(Skipped(path=_bytes(path), reason=str(reason)) for path, reason in head["skipped"])
    except (KeyError, RecursionError, TypeError, ValueError, *DECOMPRESSION_ERRORS) as error:
        raise StorageError("an index of the history cannot be used", why=str(error)) from None
    if head["version"] != VERSION:
        why = f"its version is {head['version']!r}, this program knows {VERSION}"
        raise StorageError("an index of the history cannot be used", why=why)
    _check(nodes)
    return Index(nodes=nodes, skipped=skipped)


def _lines(stream: io.BufferedReader) -> Iterator[Any]:
    """Yield the values of an index, one at a time: all lines at once would be several times as large."""
    left = LARGEST
    while line := stream.readline(_LONGEST_LINE):
        left -= len(line)
        if left < 0:
            raise ValueError(f"it has more than {LARGEST} bytes")
        yield json.loads(line)


def _nodes(lines: Iterator[Any]) -> dict[RawPath, Node]:
    nodes: dict[RawPath, Node] = {}
    for path, node in map(_node, lines):
        if path in nodes:
            raise ValueError(f"it has {show_path(path)!r} twice")
        if len(nodes) == MOST:
            raise ValueError(f"it has more than {MOST} paths")
        nodes[path] = node
    return nodes


def _check(nodes: Mapping[RawPath, Node]) -> None:
    """Refuse paths that lead out of a workspace, or through something that is no folder."""
    for path, node in nodes.items():
        parts = path.split(b"/")
        parent = path.rpartition(b"/")[0]
        if b"\0" in path or any(part in {b"", b".", b".."} for part in parts):
            raise StorageError(f"an index of the history names {show_path(path)!r}, which no workspace can hold")
        if parent and (parent not in nodes or nodes[parent].kind != DIRECTORY):
            raise StorageError(f"an index of the history has {show_path(path)!r} in what is no folder")
        if node.kind == FILE and (len(node.sha256) != _DIGEST or node.layer < 0 or node.size < 0):
            raise StorageError(f"an index of the history does not say where {show_path(path)!r} is kept")
        if node.kind == FILE and node.target and not _leads(nodes.get(node.target)):
            raise StorageError(f"an index of the history makes {show_path(path)!r} a hard link to what is no file")


def _leads(node: Node | None) -> bool:
    """Tell whether other paths may be hard links to a node."""
    return node is not None and node.kind == FILE and not node.target


def _line(path: RawPath, node: Node) -> str:
    fields: list[object] = [_text(path), _KINDS[node.kind], node.mode]
    if node.kind != DIRECTORY:
        fields += [node.size, node.sha256, _text(node.target), node.layer, _text(node.member)]
    while fields[-1] == "":
        fields.pop()
    return json.dumps(fields, separators=(",", ":"))


def _node(fields: list[Any]) -> tuple[RawPath, Node]:
    path, kind, mode, *rest = fields
    absent: list[Any] = [0, "", "", 0, ""]
    size, sha256, target, layer, member = rest + absent[len(rest) :]
    kinds = {letter: name for name, letter in _KINDS.items()}
    if not all(isinstance(number, int) for number in (mode, size, layer)) or mode != stat.S_IMODE(mode):
        raise ValueError(f"{path!r} has mode {mode!r}, size {size!r}, layer {layer!r}")
    return _bytes(path), Node(kinds[kind], mode, size, str(sha256), _bytes(target), layer, _bytes(member))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
