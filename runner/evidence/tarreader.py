"""Read the tar of an archive that may be anybody's: what a header claims takes neither memory nor time.

The standard library reads an extended header whole, however large it says it is, follows chains of them by recursion,
and gives a sparse file the size it claims. None of that is in a tar of ours.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol, Self, cast

_LARGEST_HEADER = 1024 * 1024
"""Bytes of an extended header; the longest path that Linux takes in one call has 4096."""
_CHUNK = 1024 * 1024
_EXTENDED = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)


class Readable(Protocol):
    """What a tar is read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""


class _Header(tarfile.TarInfo):
    """A header that does not claim more than a header has."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in _EXTENDED and found.size > _LARGEST_HEADER):
            # Of an error of a header's own the library makes the tar's end.
            raise tarfile.ReadError(f"{found.name[:80]}: has a header of {found.size} bytes")
        return found


def stream_tar(stream: Readable) -> tarfile.TarFile:
    """Open a tar that is read once, from its beginning to its end.

    Raises:
        tarfile.TarError: if it does not begin like one.
    """
    try:
        return tarfile.open(
            fileobj=cast("IO[bytes]", stream),
            mode="r|",
            bufsize=_CHUNK,
            encoding="utf-8",
            errors="surrogateescape",
            tarinfo=_Header,
        )
    except (ValueError, RecursionError) as error:
        raise _unusable(error) from None


def plain_tar(path: Path) -> tarfile.TarFile:
    """Open a tar that is not compressed, of which any member can be read.

    Raises:
        OSError: if it cannot be read.
        tarfile.TarError: if it does not begin like a tar.
    """
    try:
        return tarfile.open(path, "r:", tarinfo=_Header)
    except (ValueError, RecursionError) as error:
        raise _unusable(error) from None


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar, none of which is remembered: a large one must not fill the memory.

    Raises:
        tarfile.TarError: if it is damaged, or has headers that no program of good will writes.
    """
    while (member := _next(tar)) is not None:
        yield member
        tar.members.clear()  # type: ignore[attr-defined]  # documented nowhere, an attribute since the first version


def remembered(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """Return the members of a tar, which can be read by their names afterwards.

    Raises:
        tarfile.TarError: as `members` does.
    """
    found = []
    while (member := _next(tar)) is not None:
        found.append(member)
    return found


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        member = tar.next()
    except (ValueError, RecursionError) as error:
        raise _unusable(error) from None
    if member is not None and (member.size < 0 or member.issparse()):
        raise tarfile.ReadError(f"{member.name[:80]}: does not have the size that it says")
    return member


def _unusable(error: ValueError | RecursionError) -> tarfile.ReadError:
    return tarfile.ReadError(f"a header cannot be used: {error}")
