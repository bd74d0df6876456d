"""Read files out of a history's layers: each is checked against the digest that the step's index has of it."""

from __future__ import annotations

import hashlib
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runner.errors import StorageError
from runner.evidence.compress import DECOMPRESSION_ERRORS, decompressed
from runner.evidence.history.blobs import Blobs
from runner.evidence.history.escape import from_layer
from runner.evidence.history.index import Node
from runner.evidence.history.oci import KeptStep
from runner.evidence.tarreader import members, stream_tar
from runner.evidence.walk import FILE, RawPath, show_path

_CHUNK = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file's content, and every path that has it."""

    node: Node
    paths: tuple[RawPath, ...]


Receive = Callable[[Wanted, Iterator[bytes]], None]
"""Takes a wanted file and its content, all of which it has to read."""


def read_members(history: Path, step: KeptStep, nodes: Mapping[RawPath, Node], receive: Receive) -> None:
    """Read the content of files, layer by layer, each layer at most once and only those that have one of them.

    Args:
        history: the run's folder `history`.
        step: the step that the nodes are of.
        nodes: what is wanted; what is no file is left out.
        receive: given every file; hard-linked ones and their like once for all their paths.

    Raises:
        StorageError: if a layer is missing or damaged, naming the member.
    """
    layers = dict(zip(step.numbers, step.layers, strict=True))
    for number, wanted in sorted(_by_layer(nodes).items()):
        if number not in layers:
            raise StorageError(f"the history has no layer of step {number}, which {step.tag} needs", where=str(history))
        path = Blobs(history).path(layers[number].sha256)
        missing = dict(wanted)
        try:
            with decompressed(path) as stream, stream_tar(stream) as tar:
                _read_layer(tar, missing, receive, path)
        except DECOMPRESSION_ERRORS as error:
            if missing:
                raise _damaged(path, next(iter(sorted(missing))), f"cannot be read: {error}") from error
        except tarfile.TarError as error:
            raise _damaged(path, next(iter(sorted(missing))), f"cannot be read: {error}") from error
        for member in sorted(missing):
            raise _damaged(path, member, "is missing")


def member_name(member: tarfile.TarInfo) -> bytes:
    """Return a member's name as the tar has it."""
    return member.name.encode("utf-8", "surrogateescape")


def _by_layer(nodes: Mapping[RawPath, Node]) -> dict[int, dict[RawPath, Wanted]]:
    paths: dict[tuple[int, RawPath], list[RawPath]] = defaultdict(list)
    for path, node in sorted(nodes.items()):
        if node.kind == FILE:
            paths[node.layer, node.member or path].append(path)
    found: dict[int, dict[RawPath, Wanted]] = defaultdict(dict)
    for (number, member), same in paths.items():
        found[number][member] = Wanted(node=nodes[same[0]], paths=tuple(same))
    return found


def _read_layer(tar: tarfile.TarFile, missing: dict[RawPath, Wanted], receive: Receive, layer: Path) -> None:
    for member in members(tar):
        name = from_layer(member_name(member))
        one = missing.pop(name, None) if name is not None and member.isreg() else None
        if name is not None and one is not None:
            content = tar.extractfile(member)
            if content is None or member.size != one.node.size:
                raise _damaged(layer, name, f"has {member.size} bytes, not {one.node.size}")
            receive(one, _checked(content, one.node, layer, name))
        if not missing:
            return


def _checked(content: IO[bytes], node: Node, layer: Path, name: RawPath) -> Iterator[bytes]:
    digest = hashlib.sha256()
    try:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            yield chunk
    except (tarfile.TarError, *DECOMPRESSION_ERRORS) as error:
        raise _damaged(layer, name, f"cannot be read: {error}") from error
    if digest.hexdigest() != node.sha256:
        raise _damaged(layer, name, f"has sha256 {digest.hexdigest()}, not {node.sha256}")


def _damaged(layer: Path, member: RawPath, what: str) -> StorageError:
    return StorageError(
        f"a layer of the history is damaged: {show_path(member)} {what}",
        where=str(layer),
        hint="take the run's archive, or another copy of it",
    )
