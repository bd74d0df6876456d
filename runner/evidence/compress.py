"""Compressors whose output depends on their input alone, and readers that open what they wrote."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

import zstandard

ZSTD_LEVEL = 3
GZIP_LEVEL = 6
_WORKERS = 2
"""Threads of a parallel zstd: few, since other runs want the cores as well."""
_TABLES = {"window_log": 20, "hash_log": 15, "chain_log": 14, "min_match": 5}
"""What a parallel zstd remembers of its input: a quarter of what the level has, so that it stays in a core's own cache. That
makes it a quarter faster, and the output of a virtual environment 3.5 % larger."""
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952: deflate, no name, no comment, modification time 0, no level hint, operating system unknown."""
_GZIP_MAGIC = _GZIP_HEADER[:2]
_SKIPPED = 0x184D2A50
"""Magic number of zstd frames that readers pass over, but for its last four bits (RFC 8878, 3.1.2)."""
_NOTE = struct.Struct("<8sQ")
"""A word of ours, and the length of the frame that the note follows."""
_WORD = b"LASTPART"
_ENDINGS = {
    "zstd": (struct.pack("<II", _SKIPPED | 0xE, _NOTE.size), b""),
    "gzip": (
        _GZIP_HEADER[:3] + b"\x04" + _GZIP_HEADER[4:] + struct.pack("<H2sH", 4 + _NOTE.size, b"LP", _NOTE.size),
        b"\x03\x00" + bytes(8),
    ),
}
"""What stands around the note, which readers of the format pass over: a skippable frame (RFC 8878, 3.1.2), or a gzip member
of nothing with an extra field (RFC 1952, 2.3.1.1)."""
_CHUNK = 1024 * 1024
_LONGEST_HEADER = 18
"""Bytes of a zstd frame's magic number and header; with its first block no frame is shorter that holds anything of ours."""
_RUN = 1
"""Type of a block that is one byte many times."""
DECOMPRESSION_ERRORS = (EOFError, OSError, zlib.error, zstandard.ZstdError)
"""What a reader raises when its input is damaged or ends too soon."""


class Compressor(Protocol):
    """Turns a stream into a compressed one, piece by piece."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Return output that is ready; often none."""

    def flush(self) -> bytes:
        """Return the rest."""


class _Gzip:
    """Gzip without a name and a time, which the standard library's own writer always knows better."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._pending = _GZIP_HEADER
        self._sum = 0
        self._size = 0

    def compress(self, data: bytes | memoryview) -> bytes:
        self._sum = zlib.crc32(data, self._sum)
        self._size += len(data)
        ready, self._pending = self._pending + self._deflate.compress(data), b""
        return ready

    def flush(self) -> bytes:
        tail = self._sum.to_bytes(4, "little") + (self._size % 2**32).to_bytes(4, "little")
        return self._pending + self._deflate.flush() + tail


def compressor(kind: str, *, parallel: bool = False) -> Compressor:
    """Return a compressor of kind `zstd` or `gzip`.

    Zstd's output differs between none and some worker threads, and is the same for any number from one on: whether it
    has any must not depend on the machine. No content size, because it is not known when the first byte goes out.

    Args:
        kind: which.
        parallel: whether zstd works in threads of its own, which pays for megabytes and costs for less.
    """
    if kind == "gzip":
        return _Gzip()
    threads = _WORKERS if parallel else 0
    tables = _TABLES if parallel else {}
    settings = zstandard.ZstdCompressionParameters.from_level(
        ZSTD_LEVEL, threads=threads, write_content_size=False, write_checksum=True, **tables
    )
    return cast("Compressor", zstandard.ZstdCompressor(compression_params=settings).compressobj())


def ending(kind: str, length: int) -> bytes:
    """Return what ends a file so that its last frame, of so many bytes, can be found without reading the others."""
    before, after = _ENDINGS[kind]
    return before + _NOTE.pack(_WORD, length) + after


def last_frame(stream: BinaryIO, kind: str) -> int | None:
    """Return where the frame begins that an `ending` follows; None if the file does not end so.

    Args:
        stream: a file, which is at another place afterwards.
        kind: `zstd` or `gzip`.
    """
    before, after = _ENDINGS[kind]
    end = stream.seek(0, os.SEEK_END) - len(before) - _NOTE.size - len(after)
    if end < 0:
        return None
    stream.seek(end)
    found = stream.read()
    word, length = _NOTE.unpack_from(found, len(before))
    known = word == _WORD and length <= end and found == ending(kind, length)
    return end - length if known else None


def kind_of(stream: BinaryIO) -> str:
    """Return of what kind a compressed file is, by its first bytes; it is read from there afterwards."""
    stream.seek(0)
    kind = "gzip" if stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC else "zstd"
    stream.seek(0)
    return kind


def begins_compressed(path: Path) -> bool:
    """Tell whether a file begins like an archive, whatever it is called; one that cannot be read does not."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(zstandard.FRAME_HEADER)).startswith((_GZIP_MAGIC, zstandard.FRAME_HEADER))
    except OSError:
        return False


@contextlib.contextmanager
def decompressed(path: Path) -> Iterator[BinaryIO]:
    """Open a compressed file for reading what is in it; the kind is told by its first bytes.

    Raises:
        OSError: if it cannot be opened; reading raises one of DECOMPRESSION_ERRORS if it is damaged.
    """
    with path.open("rb") as stream, decompressed_stream(stream, kind_of(stream)) as reader:
        yield reader


@contextlib.contextmanager
def decompressed_stream(stream: IO[bytes], kind: str) -> Iterator[BinaryIO]:
    """Read what is in a compressed stream of kind `zstd` or `gzip`; reading raises one of DECOMPRESSION_ERRORS."""
    if kind == "gzip":
        with gzip.GzipFile(fileobj=stream) as reader:
            yield cast("BinaryIO", reader)
    else:
        with zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False) as frames:
            yield cast("BinaryIO", frames)


def ends_early(stream: BinaryIO, kind: str) -> bool:
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
