"""Pack the members of a tar that begins with a manifest of them, reading every file once.

What stands first can be written last: the members are compressed into a frame of their own while their files are read
and hashed, the manifest into another that is put before it. Readers of both formats take frames that follow each other
as one stream (RFC 8878, 3.1; RFC 1952, 2.2).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Queue
from types import TracebackType
from typing import BinaryIO, Self

from runner.evidence.compress import DECOMPRESSION_ERRORS, compressor, decompressed_stream
from runner.evidence.pack import CHUNK
from runner.evidence.tarformat import trailer

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

    What comes out depends on the pieces' bytes alone, not on how they are cut nor on how threads take turns.

    Args:
        kind: `zstd` or `gzip`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._compressor = compressor(kind, parallel=True)
        self._pending: list[bytes] = []
        self._waiting = 0
        """Bytes that are pending."""
        self._queue: Queue[bytes | memoryview | None] = Queue(_REMEMBERED)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="pack", daemon=True)
        self._stored = tempfile.SpooledTemporaryFile(_SPOOLED)  # noqa: SIM115  closed by __exit__
        self._lock = threading.Lock()
        self._passed = 0
        """Bytes of what is stored that stand in the file already."""
        self._size = 0
        self._first: list[bytes | memoryview] | None = []
        """Every chunk so far; None if they are too many to remember."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._stored.close()

    def write(self, data: bytes) -> None:
        """Take a piece of the tar.

        Raises:
            OSError: if an earlier piece could not be kept.
        """
        self._size += len(data)
        self._waiting += len(data)
        self._pending.append(data)
        if self._waiting >= CHUNK:
            self._cut()

    def finish(self, head: bytes, stream: BinaryIO) -> Packed:
        """Write the whole: a head, then everything that was taken, then the end of the tar.

        Args:
            head: the tar's first members, whole blocks.
            stream: where the file goes.

        Raises:
            OSError: if something could not be written.
        """
        self.write(trailer(len(head) + self._size))
        self._cut()
        self._give(b"".join(self._pending))
        self._queue.put(None)
        first = compressor(self._kind)
        file = _Written(stream)
        file.write(first.compress(head) + first.flush())
        tar = hashlib.sha256(head)
        for chunk in self._first or ():
            tar.update(chunk)
            self._pass_on(file)
        while self._thread.is_alive():
            self._thread.join(_MOMENT)
            self._pass_on(file)
        self._complain()
        self._pass_on(file)
        if self._first is None:
            for chunk in self._again():
                tar.update(chunk)
        return Packed(sha256=file.digest.hexdigest(), tar_sha256=tar.hexdigest(), bytes=file.bytes)

    def _cut(self) -> None:
        """Hand on what is pending in chunks of one size: a compressor's output may depend on how its input is cut."""
        whole = b"".join(self._pending)
        end = len(whole) - len(whole) % CHUNK
        view = memoryview(whole)
        for start in range(0, end, CHUNK):
            self._give(view[start : start + CHUNK])
        self._pending, self._waiting = [whole[end:]], len(whole) - end

    def _pass_on(self, file: _Written) -> None:
        """Write what has been compressed by now."""
        while True:
            with self._lock:
                self._stored.seek(self._passed)
                data = self._stored.read(CHUNK)
                self._stored.seek(0, os.SEEK_END)
            if not data:
                return
            self._passed += len(data)
            file.write(data)

    def _again(self) -> Iterator[bytes]:
        self._stored.seek(0)
        with decompressed_stream(self._stored, self._kind) as reader:
            while chunk := reader.read(CHUNK):
                yield chunk

    def _give(self, chunk: bytes | memoryview) -> None:
        self._complain()
        if self._first is not None:
            self._first.append(chunk)
            if len(self._first) > _REMEMBERED:
                self._first = None
        self._queue.put(chunk)

    def _complain(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            while (chunk := self._queue.get()) is not None:
                self._store(self._compressor.compress(chunk))
            self._store(self._compressor.flush())
        except (MemoryError, *DECOMPRESSION_ERRORS) as error:
            self._failure = error
            while self._queue.get() is not None:
                continue  # emptied, so that nobody waits for room in it

    def _store(self, data: bytes) -> None:
        if data:
            with self._lock:
                self._stored.write(data)


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
