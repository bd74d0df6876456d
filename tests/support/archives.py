"""Archives as nobody's `write_archive` would write them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from runner.evidence.compress import compressor, ending

MANIFEST_NAME = "manifest.json"


def pack(path: Path, tar: bytes, last: int | None, kind: str = "gzip") -> Path:
    """Compress a tar into a file.

    Args:
        path: the file.
        tar: what is in it, well formed or not.
        last: where the member begins that the file's end leads to; None: as in archives of earlier versions, whose manifest
            comes first and whose end leads nowhere.
        kind: `zstd` or `gzip`.
    """
    body = _frame(tar[:last], kind)
    if last is not None:
        frame = _frame(tar[last:], kind)
        body += frame + ending(kind, len(frame))
    path.write_bytes(body)
    return path


def pack_members(path: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]], *, old: bool = False) -> Path:
    """Write members into a new archive, the manifest among them put where it belongs in one of an earlier version or in ours."""
    manifest = [one for one in members if one[0].name == MANIFEST_NAME]
    others = [one for one in members if one[0].name != MANIFEST_NAME]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", encoding="utf-8", errors="surrogateescape") as tar:
        for group in (manifest, others) if old else (others, manifest):
            last = tar.offset
            for member, content in group:
                tar.addfile(member, io.BytesIO(content))
    return pack(path, stream.getvalue(), None if old else last)


def take_members(tar: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return the members of a tar with their content."""
    with tarfile.open(fileobj=io.BytesIO(tar), encoding="utf-8", errors="surrogateescape") as read:
        files = ((one, read.extractfile(one) if one.isreg() else None) for one in read.getmembers())
        return [(one, file.read() if file else b"") for one, file in files]


def _frame(data: bytes, kind: str) -> bytes:
    packed = compressor(kind)
    return packed.compress(data) + packed.flush()
