"""Put layers one upon the other as an engine would, by the words of the format and nothing of the code under test."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

from runner.evidence.history.escape import from_layer
from runner.evidence.history.oci import KeptStep

_WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"


def unpacked(history: Path, step: KeptStep) -> dict[bytes, tuple[object, ...]]:
    """Return the workspace of a step's image, like `history_world.picture` but without what is hard-linked to what."""
    found: dict[bytes, tuple[object, ...]] = {}
    for layer in step.layers:
        packed = (history / "blobs" / "sha256" / layer.sha256).read_bytes()
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)).read()
        with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
            members = [(one.name.encode("utf-8", "surrogateescape"), one) for one in tar]
            for name, _ in members:
                _mark(found, name)
            for name, member in members:
                if not name.rpartition(b"/")[2].startswith(_WHITEOUT):
                    _put(found, name, member, tar)
    return {path: one for name, one in found.items() if (path := from_layer(name))}


def like_layers(picture: Mapping[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    """Return a picture without what is hard-linked to what."""
    return {path: one[:3] if one[0] == "file" else one for path, one in picture.items()}


def _mark(found: dict[bytes, tuple[object, ...]], name: bytes) -> None:
    """Take away what a marker says, of the layers below."""
    folder, _, last = name.rpartition(b"/")
    if last == _OPAQUE:
        _remove_below(found, folder)
    elif last.startswith(_WHITEOUT):
        gone = folder + b"/" + last.removeprefix(_WHITEOUT)
        _remove_below(found, gone)
        found.pop(gone, None)


def _put(found: dict[bytes, tuple[object, ...]], name: bytes, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    mode = stat.S_IMODE(member.mode)
    if member.isdir():
        found[name] = ("folder", mode)
        return
    _remove_below(found, name)
    if member.issym():
        found[name] = ("link", member.linkname.encode("utf-8", "surrogateescape"))
    else:
        stream = tar.extractfile(member)
        found[name] = ("file", mode, stream.read() if stream else b"")


def _remove_below(found: dict[bytes, tuple[object, ...]], folder: bytes) -> None:
    for path in [one for one in found if one.startswith(folder + b"/")]:
        del found[path]
