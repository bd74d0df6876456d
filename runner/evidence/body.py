"""Pack the members of a tar that begins with a manifest of them, reading every file once.

What stands first can be written last: the members are compressed into a frame of their own while their files are read
and hashed, the manifest into another that is put before it. Readers of both formats take frames that follow each other
as one stream (RFC 8878, 3.1; RFC 1952, 2.2).

Files are read into the memory that the compressor reads from: nothing is copied on its way, and memory that has been used
is used again, since fresh memory costs as much as hashing what is put there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import IO, TYPE_CHECKING, BinaryIO, Self

from runner.evidence.compress import DECOMPRESSION_ERRORS, compressor, decompressed_stream
from runner.evidence.pack import CHUNK
from runner.evidence.tarformat import trailer

if TYPE_CHECKING:
    from hashlib import _Hash

_REMEMBERED = 128
"""Chunks that are kept until the tar is hashed, and that reading may be ahead of the compressor: memory is bounded by
this many. What is longer is decompressed again to be hashed."""
_MOMENT = 0.01
"""Seconds between two looks at what has been compressed."""
_SPOOLED = 48 * CHUNK
"""Compressed bytes that are kept in memory; more go through a temporary file."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A tar that has been written."""

    sha256: str
    """Of the file."""
    tar_sha256: str
    """Of the tar inside."""
    bytes: int
    """Size of the file."""


class Body:
    """Everything of a tar but what stands first, compressed and not yet where it belongs.

    What comes out depends on the pieces' bytes alone, not on how they are cut nor on how threads take turns: a compressor's
    output may depend on how its input is cut, so it gets chunks of one size.

    Args:
        kind: `zstd` or `gzip`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._compressor = compressor(kind, parallel=True)
        self._memory = memoryview(_memory(_REMEMBERED * CHUNK))
        self._chunks = 0
        """Chunks that have been filled."""
        self._chunk = self._memory[:CHUNK]
        """The one that is being filled."""
        self._at = 0
        """Bytes in it."""
        self._free = threading.Semaphore(_REMEMBERED - 1)
        self._queue: SimpleQueue[memoryview | None] = SimpleQueue()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="pack", daemon=True)
        self._store = _Store()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._store.close()

    def write(self, data: bytes) -> None:
        """Take a piece of the tar.

        Raises:
            OSError: if an earlier piece could not be kept.
        """
        at = self._at
        if at + len(data) < CHUNK:
            self._at = at + len(data)
            self._chunk[at : self._at] = data
            return
        left = memoryview(data)
        while left:
            size = min(len(left), CHUNK - self._at)
            self._chunk[self._at : self._at + size] = left[:size]
            self._advance(size)
            left = left[size:]

    def read(self, head: bytes, handle: int, size: int, digest: _Hash) -> int:
        """Take a member's header and its content.

        Args:
            head: the header.
            handle: the file.
            size: bytes to be read of it.
            digest: is given the content.

        Returns:
            Bytes that are left because the file ended before.

        Raises:
            ReadError: if the file cannot be read.
            OSError: if an earlier piece could not be kept.
        """
        # A header that reaches into the next chunk leaves no room in this one: then it goes first.
        room = self._chunk[self._at + len(head) :][:size]
        got = _fill(room, handle, begun=False)
        self.write(head)
        left = size
        while True:
            digest.update(room[:got])
            self._advance(got)
            left -= got
            if not left or (room and not got):
                return left
            room = self._chunk[self._at :][:left]
            got = _fill(room, handle, begun=True)

    def finish(self, head: bytes, stream: BinaryIO) -> Packed:
        """Write the whole: a head, then everything that was taken, then the end of the tar.

        Args:
            head: the tar's first members, whole blocks.
            stream: where the file goes.

        Raises:
            OSError: if something could not be written.
        """
        self.write(trailer(len(head) + self._chunks * CHUNK + self._at))
        self._queue.put(self._chunk[: self._at])
        self._queue.put(None)
        first = compressor(self._kind)
        file = _Written(stream)
        file.write(first.compress(head) + first.flush())
        tar = hashlib.sha256(head)
        hashing = threading.Thread(target=self._hash, args=(tar,), name="hash")
        hashing.start()
        try:
            while self._thread.is_alive():
                self._thread.join(_MOMENT)
                self._pass_on(file)
        finally:
            hashing.join()
        self._complain()
        self._pass_on(file)
        if self._chunks >= _REMEMBERED:
            for chunk in self._again():
                tar.update(chunk)
        return Packed(sha256=file.digest.hexdigest(), tar_sha256=tar.hexdigest(), bytes=file.bytes)

    def _hash(self, tar: _Hash) -> None:
        """Hash everything that was taken, if all of it is remembered."""
        end = self._chunks * CHUNK + self._at
        for start in range(0, end if self._chunks < _REMEMBERED else 0, CHUNK):
            tar.update(self._memory[start : min(start + CHUNK, end)])

    def _advance(self, size: int) -> None:
        """Note that so many bytes more are in the chunk; hand it on if it is full, and wait for room for another."""
        self._at += size
        if self._at < CHUNK:
            return
        self._complain()
        self._queue.put(self._chunk)
        self._free.acquire()
        self._chunks += 1
        start = self._chunks % _REMEMBERED * CHUNK
        self._chunk, self._at = self._memory[start : start + CHUNK], 0

    def _pass_on(self, file: _Written) -> None:
        """Write what has been compressed by now."""
        for data in self._store.new():
            file.write(data)

    def _again(self) -> Iterator[bytes]:
        with decompressed_stream(self._store.whole(), self._kind) as reader:
            while chunk := reader.read(CHUNK):
                yield chunk

    def _complain(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            while (chunk := self._queue.get()) is not None:
                self._store.add(self._compressor.compress(chunk))
                self._free.release()
            self._store.add(self._compressor.flush())
        except (MemoryError, *DECOMPRESSION_ERRORS) as error:
            self._failure = error
            self._free.release()
            while self._queue.get() is not None:
                self._free.release()  # so that nobody waits for room


class ReadError(Exception):
    """A file cannot be read."""

    def __init__(self, why: str, *, begun: bool) -> None:
        super().__init__(why)
        self.why = why
        self.begun = begun
        """Whether its header, and perhaps a part of it, has been taken."""


class _Store:
    """Compressed bytes, in order: in memory, or in a temporary file if they are many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._passed = 0
        """Bytes that have been given out."""
        self._next = 0
        """First piece that has not."""

    def add(self, data: bytes) -> None:
        """Take some more. Raises OSError if they cannot be kept."""
        if not data:
            return
        with self._lock:
            self._size += len(data)
            if self._file is None and self._size > _SPOOLED:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
                self._file.writelines(self._pieces)
                self._pieces = []
            if self._file is None:
                self._pieces.append(data)
            else:
                self._file.seek(0, os.SEEK_END)
                self._file.write(data)

    def new(self) -> Iterator[bytes]:
        """Yield what has come since this was last asked."""
        while data := self._more():
            self._passed += len(data)
            yield data

    def whole(self) -> IO[bytes]:
        """Return everything from the beginning; nothing may be added afterwards."""
        if self._file is None:
            return io.BytesIO(b"".join(self._pieces))
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _more(self) -> bytes:
        with self._lock:
            if self._file is not None:
                self._file.seek(self._passed)
                return self._file.read(CHUNK)
            if self._next == len(self._pieces):
                return b""
            self._next += 1
            return self._pieces[self._next - 1]


class _Written:
    """A file that is hashed as it is written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self.digest.update(data)
        self.bytes += len(data)


def _fill(room: memoryview, handle: int, *, begun: bool) -> int:
    """Read as much of a file as there is room for; 0 if it has ended, or there is no room."""
    try:
        return os.readv(handle, [room]) if room else 0
    except OSError as error:
        raise ReadError(error.strerror or str(error), begun=begun) from error


def _memory(size: int) -> mmap.mmap:
    """Return memory that costs nothing until it is used; in large pages where there are some, which cost less then."""
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
