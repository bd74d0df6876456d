"""What is left to do of calls whose framework has its answer: their bodies get files, their lines are brought to the disk.

A call's line and its journal, with the bodies in it, are written before the framework sees the end of the answer. They
outlive every process from then on, but not the machine's end; what is done here makes them outlive that as well, a moment
later and for many calls at once. To do it with each call would make each longer by what the disk takes: making a file is
slow on network file systems, and on some local ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from runner.gateway.bodies import Bodies, Packed
from runner.gateway.pending import Pending

SOON = 0.05
"""Seconds that the first of some calls waits for others."""
_MOST = 32 * 1024 * 1024
"""Bytes of bodies that may wait; a disk that does not keep up with the calls holds further ones up."""


class Afterwards:
    """Holds what is left to do of one session's calls.

    Args:
        calls_file: where their lines are.
        bodies: where their bodies go.
        pending: where they are noted until all is done.
        seconds: how long a call may wait for others.
    """

    def __init__(self, calls_file: Path, bodies: Bodies, pending: Pending, seconds: float = SOON) -> None:
        self.problem = ""
        """Why lines that were written may not be on the disk; empty if there was no such reason."""
        self._calls_file, self._bodies, self._pending = calls_file, bodies, pending
        self._seconds = seconds
        self._new: list[tuple[int, Sequence[Packed]]] = []
        self._waiting = 0
        self._full = False
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def has_room(self) -> bool:
        """Tell whether bodies may be left until later; not once one could not be kept."""
        return not self._full and self._waiting < _MOST

    def note(self, n: int, bodies: Sequence[Packed] = ()) -> None:
        """Leave until later what is left of a call; it is pending no more when that is done.

        Args:
            n: number of the call within its attempt.
            bodies: what is to be kept of it, and stands in the journal.
        """
        self._new.append((n, bodies))
        self._waiting += sum(body.size for body in bodies)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def done(self) -> None:
        """Wait until nothing is left to do; what could not be done is still pending."""
        self._now.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _work(self) -> None:
        while self._new:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), self._seconds)
            calls, self._new = self._new, []
            kept, self.problem = await asyncio.to_thread(self._do, calls)
            for n, bodies in calls:
                self._waiting -= sum(body.size for body in bodies)
                if n in kept:
                    self._pending.end(n)
            self._full = self._full or len(kept) < len(calls)

    def _do(self, calls: Sequence[tuple[int, Sequence[Packed]]]) -> tuple[set[int], str]:
        """Return the calls whose bodies are kept, and why their lines may not be on the disk."""
        kept: set[int] = set()
        for n, bodies in calls:
            with contextlib.suppress(OSError):
                for body in bodies:
                    self._bodies.put(body)
                kept.add(n)
        try:
            _sync(self._calls_file)
        except OSError as error:
            return kept, f"{self._calls_file} cannot be brought to the disk: {error.strerror or error}"
        return kept, self.problem


def _sync(path: Path) -> None:
    # The directory of a run may have been set aside meanwhile.
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
