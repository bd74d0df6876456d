"""Write tar archives whose bytes depend on their entries alone: numeric owners, fixed fields, few pax records.

The standard library's writer is not used for this because its headers differ between Python versions.
Format: POSIX.1-2001 pax interchange format on ustar headers; extended attributes as SCHILY.xattr records.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

_BLOCK = 512
_MAX_OCTAL_ID = 0o7777777
_MAX_OCTAL_SIZE = 0o77777777777
_NAME_BYTES = 100

FILE, HARDLINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One member of an archive; `path` is relative, without `./` and without a trailing slash."""

    path: str
    type: bytes = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    """Seconds since the epoch."""
    size: int = 0
    link: str = ""
    """Target of a symbolic or hard link."""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, str] = field(default_factory=dict)
    """Extended attributes; bytes that are no UTF-8 are kept as surrogates."""


def header(entry: Entry) -> bytes:
    """Return the header blocks of an entry, a pax header first where ustar cannot hold a value."""
    path = _encode(entry.path + ("/" if entry.type == DIRECTORY else ""))
    link = _encode(entry.link)
    records: dict[str, bytes] = {f"SCHILY.xattr.{name}": _encode(value) for name, value in entry.xattrs.items()}
    if len(path) > _NAME_BYTES or not path.isascii():
        records["path"] = path
    if len(link) > _NAME_BYTES or not link.isascii():
        records["linkpath"] = link
    for name, value, most in (("uid", entry.uid, _MAX_OCTAL_ID), ("gid", entry.gid, _MAX_OCTAL_ID)):
        if value > most:
            records[name] = str(value).encode()
    if entry.size > _MAX_OCTAL_SIZE:
        records["size"] = str(entry.size).encode()
    extended = b""
    if records:
        body = b"".join(_record(name, records[name]) for name in sorted(records))
        extended = _ustar(Entry(path="pax", type=b"x", size=len(body)), b"pax", b"") + body + padding(len(body))
    return extended + _ustar(entry, path, link)


def padding(size: int) -> bytes:
    """Return the zeros that fill a member of `size` bytes up to a whole block."""
    return b"\0" * (-size % _BLOCK)


def archive(members: Iterable[tuple[Entry, Iterable[bytes]]]) -> Iterator[bytes]:
    """Yield the bytes of an archive of these members, end marker included.

    Raises:
        ValueError: if a member's content is not as long as its entry says.
    """
    for entry, content in members:
        yield header(entry)
        written = 0
        for chunk in content:
            written += len(chunk)
            yield chunk
        if written != entry.size:
            raise ValueError(f"{entry.path} has {written} bytes where {entry.size} were announced")
        yield padding(written)
    yield b"\0" * (2 * _BLOCK)


def stream(chunks: Iterator[bytes]) -> IO[bytes]:
    """Turn an iterator of bytes into a readable file, so that an archive is sent while it is made."""
    return io.BufferedReader(_Chunks(chunks), buffer_size=1 << 18)


class _Chunks(io.RawIOBase):
    """Reads from an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _record(name: str, value: bytes) -> bytes:
    """Format one pax record; its decimal length counts itself, so it is found by trying."""
    rest = b" " + name.encode() + b"=" + value + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _ustar(entry: Entry, path: bytes, link: bytes) -> bytes:
    def octal(value: int, width: int, most: int) -> bytes:
        return f"{value if value <= most else 0:0{width - 1}o}".encode() + b"\0"

    def text(value: bytes) -> bytes:
        shown = value if value.isascii() else b"pax"
        return shown[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0")

    major, minor = entry.device
    block = b"".join(
        (
            text(path),
            octal(entry.mode & 0o7777, 8, _MAX_OCTAL_ID),
            octal(entry.uid, 8, _MAX_OCTAL_ID),
            octal(entry.gid, 8, _MAX_OCTAL_ID),
            octal(entry.size, 12, _MAX_OCTAL_SIZE),
            octal(entry.mtime, 12, _MAX_OCTAL_SIZE),
            b" " * 8,
            entry.type,
            text(link),
            b"ustar\x0000",
            b"\0" * 64,
            octal(major, 8, _MAX_OCTAL_ID),
            octal(minor, 8, _MAX_OCTAL_ID),
        )
    ).ljust(_BLOCK, b"\0")
    checksum = f"{sum(block):06o}\0 ".encode()
    return block[:148] + checksum + block[156:]
