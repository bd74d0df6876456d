"""Pack a tar on its way to a file: hashed and compressed in a thread of its own while the next file is read."""

from __future__ import annotations

import hashlib
import threading
from queue import Queue
from types import TracebackType
from typing import BinaryIO, Self

from runner.evidence.compress import DECOMPRESSION_ERRORS, Compressor, compressor
from runner.evidence.tarformat import trailer

CHUNK = 1024 * 1024
"""Bytes given to the compressor at a time, always: its output may depend on how its input is cut."""
_AHEAD = 16
"""Chunks that may wait for the compressor: memory is bounded by this many."""


class Packer:
    """A tar stream that is compressed and hashed before and after on its way to a file.

    What is written depends on the pieces' bytes alone, not on how they are cut nor on how threads take turns: the
    compressor always gets whole chunks of one size, in order, from one thread.

    Args:
        stream: where the compressed bytes go.
        kind: `zstd` or `gzip`.
    """

    def __init__(self, stream: BinaryIO, kind: str) -> None:
        self._stream = stream
        self._compressor: Compressor = compressor(kind, parallel=True)
        self._pending = bytearray()
        self._queue: Queue[bytes | None] = Queue(_AHEAD)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="pack", daemon=True)
        self._tar = hashlib.sha256()
        self._file = hashlib.sha256()
        self.tar_bytes = 0
        """Bytes of the tar so far."""
        self.bytes = 0
        """Bytes of the file; complete after `close`."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if error is None:
            self._complain()

    def write(self, data: bytes) -> None:
        """Take a piece of the tar.

        Raises:
            OSError: if an earlier piece could not be written.
        """
        self.tar_bytes += len(data)
        if len(data) == CHUNK and not self._pending:
            self._give(data)
            return
        self._pending += data
        while len(self._pending) >= CHUNK:
            self._give(bytes(memoryview(self._pending)[:CHUNK]))
            del self._pending[:CHUNK]

    def close(self) -> None:
        """End the tar and the compressed stream; everything is in the file after this.

        Raises:
            OSError: if something could not be written.
        """
        self.write(trailer(self.tar_bytes))
        self._give(bytes(self._pending))
        self._queue.put(None)
        self._thread.join()
        self._complain()
        self._put(self._compressor.flush())

    @property
    def tar_sha256(self) -> str:
        """Digest of the tar; to be read after `close`."""
        return self._tar.hexdigest()

    @property
    def sha256(self) -> str:
        """Digest of the file; to be read after `close`."""
        return self._file.hexdigest()

    def _give(self, chunk: bytes) -> None:
        self._complain()
        self._queue.put(chunk)

    def _complain(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (chunk := self._queue.get()) is not None:
            if self._failure is not None:
                continue  # the queue is emptied, so that nobody waits for room in it
            try:
                self._tar.update(chunk)
                self._put(self._compressor.compress(chunk))
            except (MemoryError, *DECOMPRESSION_ERRORS) as error:
                self._failure = error

    def _put(self, data: bytes) -> None:
        if data:
            self._file.update(data)
            self.bytes += len(data)
            self._stream.write(data)
