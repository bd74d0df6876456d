"""Find an archive's manifest: quickly, since it stands at the end and a note there leads to it."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runner.evidence.compress import DECOMPRESSION_ERRORS, decompressed_stream, ends_early, kind_of, last_frame
from runner.evidence.manifest import LARGEST, MANIFEST, Listed, decode
from runner.evidence.tarreader import stream_tar


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
            if place is None and ends_early(stream, kind):
                size = stream.seek(0, os.SEEK_END)
                raise CutShort(f"it ends too early, after {size} bytes") from None
            raise
    return Manifest(listed=decode(data), sha256=hashlib.sha256(data).hexdigest(), first=place is None)


def _manifest_in(tar: tarfile.TarFile) -> bytes:
    """Return the manifest that a tar begins with."""
    member = tar.next()
    content = tar.extractfile(member) if member is not None and member.isreg() else None
    if member is None or member.name != MANIFEST or member.size > LARGEST or content is None:
        raise ValueError(f"there is no {MANIFEST} where it should be")
    return content.read()
