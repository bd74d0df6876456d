"""Find an archive's manifest: quickly, since it stands at the end and a note there leads to it."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import zstandard

from runner.evidence.compress import DECOMPRESSION_ERRORS, decompressed_stream, kind_of, last_frame
from runner.evidence.manifest import LARGEST, MANIFEST, Listed, decode
from runner.evidence.tarreader import stream_tar

_BEGINNINGS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip (RFC 1952, 2.3.1) and of a zstd frame (RFC 8878, 3.1.1)."""
_CHUNK = 1024 * 1024
_LONGEST_HEADER = 18
"""Bytes of a zstd frame's magic number and header; with its first block no frame is shorter that holds anything of ours."""
_SKIPPED = 0x184D2A50
"""Magic number of frames that readers pass over, but for its last four bits (RFC 8878, 3.1.2)."""
_RUN = 1
"""Type of a block that is one byte many times."""


class CutShort(ValueError):
    """A compressed file ends before what is in it does."""


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself; nothing of the archive but this has been read."""

    listed: list[Listed]
    sha256: str
    """Of the manifest itself."""
    first: bool
    """Whether it is the archive's first member, as in those of earlier versions, and not the last."""

    @cached_property
    def places(self) -> dict[bytes, int]:
        """Return the place of each path among the members."""
        return {one.member.path: place for place, one in enumerate(self.listed)}


def read_manifest(archive: Path) -> Manifest:
    """Read the manifest that an archive's end leads to; that it is the archive's last member is not known by that.

    Raises:
        OSError: if the archive cannot be read.
        CutShort: if the file ends too early.
        ValueError: if it has no manifest that can be used.
        tarfile.TarError, or one of DECOMPRESSION_ERRORS: if it is damaged.
    """
    with archive.open("rb") as stream:
        kind = kind_of(stream)
        place = last_frame(stream, kind)
        stream.seek(place or 0)
        try:
            with decompressed_stream(stream, kind) as reader, stream_tar(reader) as tar:
                data = _manifest_in(tar)
        except (ValueError, tarfile.TarError, *DECOMPRESSION_ERRORS):
            if place is None and _ends_early(stream, kind):
                size = stream.seek(0, os.SEEK_END)
                raise CutShort(f"it ends too early, after {size} bytes") from None
            raise
    return Manifest(listed=decode(data), sha256=hashlib.sha256(data).hexdigest(), first=place is None)


def begins_compressed(path: Path) -> bool:
    """Tell whether a file begins like an archive, whatever it is called; one that cannot be read does not."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(max(_BEGINNINGS, key=len))).startswith(_BEGINNINGS)
    except OSError:
        return False


def _manifest_in(tar: tarfile.TarFile) -> bytes:
    """Return the manifest that a tar begins with."""
    member = tar.next()
    content = tar.extractfile(member) if member is not None and member.isreg() else None
    if member is None or member.name != MANIFEST or member.size > LARGEST or content is None:
        raise ValueError(f"there is no {MANIFEST} where it should be")
    return content.read()


def _ends_early(stream: BinaryIO, kind: str) -> bool:
    """Tell whether a compressed file ends within a frame, and nothing shows before that it is another sort of file."""
    try:
        if kind == "zstd":
            return _zstd_ends_early(stream)
        with decompressed_stream(stream, kind) as reader:
            stream.seek(0)
            while reader.read(_CHUNK):
                continue
    except EOFError:
        return True
    except DECOMPRESSION_ERRORS:
        return False
    return False


def _zstd_ends_early(stream: BinaryIO) -> bool:
    """Walk from frame to frame by the lengths that blocks say (RFC 8878, 3.1.1); nothing is decompressed.

    Raises:
        zstandard.ZstdError: if there is something else than a frame.
    """
    end, place = stream.seek(0, os.SEEK_END), 0
    while place < end:
        stream.seek(place)
        head = stream.read(_LONGEST_HEADER)
        if int.from_bytes(head[:4], "little") & ~0xF == _SKIPPED:
            place += 8 + int.from_bytes(head[4:8], "little")
            continue
        if len(head) < _LONGEST_HEADER:
            return True
        place += zstandard.frame_header_size(head)
        last = False
        while not last and place < end:
            stream.seek(place)
            block = int.from_bytes(stream.read(3), "little")
            last = bool(block & 1)
            # A run of one byte has that byte alone, whatever its length.
            place += 3 + (1 if block >> 1 & 3 == _RUN else block >> 3)
        place += 4 * zstandard.get_frame_parameters(head).has_checksum
        if not last:
            return True
    return place > end or end == 0
