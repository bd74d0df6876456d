"""Pack a tar on its way to a file: hashed and compressed in a thread of its own while the next file is read.

Files are read into the memory that the compressor reads from, so nothing is copied on its way. That memory is a small ring:
fresh memory costs as much as hashing what is put there, and memory that was used a moment ago is still in a core's cache.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import threading
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from runner.evidence.compress import DECOMPRESSION_ERRORS, Compressor, compressor, ending
from runner.evidence.tarformat import trailer

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK = 1024 * 1024
"""Bytes given to the compressor at a time, always: its output may depend on how its input is cut."""
_AHEAD = 16
"""Chunks of the ring: that many are filled, waiting or being compressed, and memory is bounded by them."""


class ReadError(OSError):
    """A file cannot be read."""

    def __init__(self, error: OSError, *, begun: bool) -> None:
        super().__init__(error.errno, error.strerror)
        self.begun = begun
        """Whether its header, and perhaps a part of it, has been taken."""


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
        self._kind = kind
        self._compressor: Compressor = compressor(kind, parallel=True)
        self._memory = memoryview(mmap.mmap(-1, _AHEAD * CHUNK))
        self._chunks = 0
        """Chunks that have been filled."""
        self._chunk = self._memory[:CHUNK]
        """The one that is being filled."""
        self._at = 0
        """Bytes in it."""
        self._free = threading.Semaphore(_AHEAD - 1)
        self._queue: SimpleQueue[memoryview | None] = SimpleQueue()
        self._failure: Exception | None = None
        self._closing = False
        """Whether the stream is to be whole in the end: otherwise nobody needs what is still in the compressor."""
        self._thread = threading.Thread(target=self._work, name="pack", daemon=True)
        self._tar = hashlib.sha256()
        self._file = hashlib.sha256()
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
            OSError: if an earlier piece could not be written.
        """
        # A header that reaches into the next chunk leaves no room in this one: then it goes first.
        room = self._chunk[self._at + len(head) :][:size]
        if size and not room:
            _try(handle)
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

    def close(self, last: bytes = b"") -> None:
        """End the tar and the compressed stream; everything is in the file after this.

        Args:
            last: the tar's last members, whole blocks, which are to be found without reading what stands before them: they
                get a frame of their own and a note behind it, as `runner.evidence.compress.last_frame` reads it.

        Raises:
            OSError: if something could not be written.
        """
        end = trailer(self._chunks * CHUNK + self._at + len(last))
        if not last:
            self.write(end)
        self._queue.put(self._chunk[: self._at])
        self._closing = True
        self._queue.put(None)
        single = compressor(self._kind)
        frame = single.compress(last + end) + single.flush() if last else b""
        self._thread.join()
        self._complain()
        if last:
            self._tar.update(last + end)
            self._put(frame + ending(self._kind, len(frame)))

    @property
    def tar_sha256(self) -> str:
        """Digest of the tar; to be read after `close`."""
        return self._tar.hexdigest()

    @property
    def sha256(self) -> str:
        """Digest of the file; to be read after `close`."""
        return self._file.hexdigest()

    def _advance(self, size: int) -> None:
        """Note that so many bytes more are in the chunk; hand it on if it is full, and wait for room for another."""
        self._at += size
        if self._at < CHUNK:
            return
        self._complain()
        self._queue.put(self._chunk)
        self._free.acquire()
        self._chunks += 1
        start = self._chunks % _AHEAD * CHUNK
        self._chunk, self._at = self._memory[start : start + CHUNK], 0

    def _complain(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        well = False
        try:
            while (chunk := self._queue.get()) is not None:
                self._pack(chunk)
                self._free.release()  # after a failure too, so that nobody waits for room
            if self._closing:
                self._pack(None)
            well = True
        finally:
            if not well:  # whatever ended this thread, a file that is not whole must not pass for one that is
                self._failure = OSError(errno.EIO, "what packs it ended too soon")
                self._free.release()

    def _pack(self, chunk: memoryview | None) -> None:
        """Hash, compress and write a chunk, or with None what is still in the compressor; nothing after a failure."""
        if self._failure is not None:
            return
        try:
            if chunk is None:
                self._put(self._compressor.flush())
            else:
                self._tar.update(chunk)
                self._put(self._compressor.compress(chunk))
        except (MemoryError, *DECOMPRESSION_ERRORS) as error:
            self._failure = error

    def _put(self, data: bytes) -> None:
        if data:
            self._file.update(data)
            self.bytes += len(data)
            self._stream.write(data)


def _try(handle: int) -> None:
    """Read a byte of a file, which stays where it is: whether it can be read is known before its header is taken."""
    try:
        os.pread(handle, 1, 0)
    except OSError as error:
        raise ReadError(error, begun=False) from error


def _fill(room: memoryview, handle: int, *, begun: bool) -> int:
    """Read as much of a file as there is room for; 0 if it has ended, or there is no room."""
    try:
        return os.readv(handle, [room]) if room else 0
    except OSError as error:
        raise ReadError(error, begun=begun) from error
