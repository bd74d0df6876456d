"""Prove a history: every blob against its name, every layer against its image, every file against its step's index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import is_temporary
from runner.evidence.compress import DECOMPRESSION_ERRORS, decompressed
from runner.evidence.history.blobs import Blobs
from runner.evidence.history.index import Node
from runner.evidence.history.members import Wanted, read_members
from runner.evidence.history.oci import KeptStep, Layer, read_base, read_index, read_steps
from runner.evidence.walk import RawPath

_CHUNK = 1024 * 1024


def check_history(history: Path) -> list[str]:
    """Return what is wrong with a history, a sentence each; an empty list if nothing is, or if there is none."""
    found = list(_check_names(history))
    try:
        steps = read_steps(history)
    except StorageError as error:
        return [*found, str(error)]
    for step in steps:
        found += _check_layer(history, step.layer)
    for step in steps:
        found += _check_step(history, step)
    return found


def _check_names(history: Path) -> Iterator[str]:
    """Check that every blob is what its name says, also those that no step names."""
    folder = history / "blobs" / "sha256"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_temporary(path.name):
            continue
        try:
            with path.open("rb") as stream:
                actual = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            yield f"{path.name} cannot be read: {error.strerror}"
            continue
        if actual != path.name:
            yield f"blob {path.name} is damaged: its sha256 is {actual}"


def _check_layer(history: Path, layer: Layer) -> Iterator[str]:
    digest = hashlib.sha256()
    try:
        with decompressed(Blobs(history).path(layer.sha256)) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except DECOMPRESSION_ERRORS as error:
        yield f"layer {layer.sha256} cannot be read: {error}"
        return
    if digest.hexdigest() != layer.diff_id:
        yield f"layer {layer.sha256} holds the tar {digest.hexdigest()}, its image says {layer.diff_id}"


def _check_step(history: Path, step: KeptStep) -> Iterator[str]:
    """Check the files that a step's own layer has; those of older layers are checked with their own steps."""
    try:
        read_base(history, step)
        index = read_index(history, step)
        own: dict[RawPath, Node] = {path: node for path, node in index.nodes.items() if node.layer == step.number}
        read_members(history, step, own, _read_through)
    except StorageError as error:
        yield f"{step.tag}: {error}"


def _read_through(_: Wanted, content: Iterator[bytes]) -> None:
    for _chunk in content:
        continue
