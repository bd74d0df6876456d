"""Pass on what the command prints, bounded: the beginning as it comes, of the rest the end."""

from __future__ import annotations

import os
import select

from runner_shim.loop import Loop

CHUNK = 65536
SAFE_WRITE = 4096
"""PIPE_BUF: a pipe that polls writable takes this much without blocking, whoever reads it."""
LAST_READS = 32
"""Reads of CHUNK after the end: twice what the largest pipe holds, in case some process still writes."""


class Output:
    """Holds one output of the command: half of the limit is passed on as it comes, of the rest the last half is kept."""

    def __init__(self, loop: Loop, source: int, sink: int, limit: int) -> None:
        self.loop, self.source, self.sink, self.half = loop, source, sink, limit // 2
        self.name = "stdout" if sink == 1 else "stderr"
        self.total = self.lost = self.oldest = 0
        self.pending = b""
        self.kept = bytearray()
        os.set_blocking(source, False)
        self._listen()

    def _listen(self) -> None:
        """Wait for the reader while something is pending, which holds back the command; else for the command."""
        self.loop.watch(self.sink, select.POLLOUT if self.pending else 0, self._write)
        if self.source >= 0:
            self.loop.watch(self.source, 0 if self.pending else select.POLLIN, self.read)

    def read(self) -> bool:
        """Take what is there; tell whether there was something."""
        try:
            chunk = os.read(self.source, CHUNK)
        except BlockingIOError:
            return False
        if chunk:
            self._take(chunk)
        else:
            self._close()
        self._listen()
        return bool(chunk)

    def _take(self, chunk: bytes) -> None:
        passed = max(0, min(len(chunk), self.half - self.total))
        self.pending += chunk[:passed]
        self.total += len(chunk)
        if passed < len(chunk):
            if not self.kept:
                self._mark(f"more than {self.half} bytes; from here on only the last {self.half} are kept")
            self._keep(chunk[passed:])

    def _keep(self, rest: bytes) -> None:
        """Put bytes into the ring: it grows to its size, then the oldest are overwritten."""
        room = self.half - len(self.kept)
        self.kept += rest[:room]
        rest = rest[room:][-self.half :]
        first = rest[: self.half - self.oldest]
        self.kept[self.oldest : self.oldest + len(first)] = first
        self.kept[: len(rest) - len(first)] = rest[len(first) :]
        self.oldest = (self.oldest + len(rest)) % self.half

    def _mark(self, text: str) -> None:
        self.pending += f"\n[runner-shim] {self.name}: {text}\n".encode()

    def _write(self) -> None:
        try:
            sent = os.write(self.sink, self.pending[:SAFE_WRITE])
        except OSError:
            sent = len(self.pending)
            self.lost += sent
        self.pending = self.pending[sent:]
        self._listen()

    def _close(self) -> None:
        self.loop.watch(self.source, 0, self.read)
        os.close(self.source)
        self.source = -1

    @property
    def dropped(self) -> int:
        """Return how many bytes the command wrote that nobody will see."""
        return max(0, self.total - self.half - len(self.kept)) + self.lost

    def finish(self) -> None:
        """Take what the pipe still holds, without waiting for whoever keeps it open, and queue the kept end."""
        for _ in range(LAST_READS):
            if self.source < 0 or not self.read():
                break
        if self.source >= 0:
            self._close()
        if self.kept:
            self._mark(f"{self.dropped} bytes were dropped here")
            self.pending += self.kept[self.oldest :] + self.kept[: self.oldest]
        self._listen()
