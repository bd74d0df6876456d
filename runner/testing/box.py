"""What a program inside a fake container sees of its container."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from runner.engine.protocol import ContainerSpec

_SIGNAL_EXIT = 128


class Signalled(Exception):
    """A signal ends the program; a program may catch it once to clean up, as a signal handler would."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class Box:
    """A container from inside: its spec, its folders, its output, and the limits it lives under.

    A program is ended by signals only where it calls a method of its box, as Python threads cannot be killed. After a
    kill its container counts as exited at once, whatever the program still does.
    """

    def __init__(self, spec: ContainerSpec, volumes: Mapping[str, str]) -> None:
        self.spec = spec
        self.ignore_sigterm = False
        """Set by a program that does not end when asked to."""
        self.oom_killed = False
        self.cpu_seconds = 0.0
        self.peak_memory = 0
        self.output: list[tuple[str, bytes]] = []
        self.changed = threading.Condition()
        """Told whenever output comes or the program ends."""
        self._volumes = dict(volumes)
        self._signalled = threading.Event()
        self._number = 0

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Write to `stdout` or `stderr`."""
        self._heed()
        with self.changed:
            self.output.append((stream, data))
            self.changed.notify_all()

    def path(self, inside: str, *, write: bool = False) -> Path:
        """Return the host path behind a path in the container.

        Raises:
            OSError: EROFS for writing outside every mount or in a read-only one; ENOENT for reading outside of them.
        """
        self._heed()
        wanted = PurePosixPath(self.spec.workdir) / inside
        fitting = [mount for mount in self.spec.mounts if wanted.is_relative_to(mount.target)]
        mount = max(fitting, key=lambda one: len(one.target), default=None)
        if write and (mount.read_only if mount else self.spec.read_only):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(wanted))
        if mount is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(wanted))
        source = self._volumes[mount.source] if mount.volume else mount.source
        return Path(source) / wanted.relative_to(mount.target)

    def sleep(self, seconds: float) -> None:
        """Sleep, unless a signal ends the program."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._signalled.wait(left):
                self._heed()

    def burn(self, seconds: float) -> None:
        """Use CPU time, by the book-keeping only."""
        self._heed()
        self.cpu_seconds += seconds

    def allocate(self, size: int) -> None:
        """Hold `size` bytes of memory, by the book-keeping only; more than the limits give ends the program."""
        self._heed()
        limits = self.spec.resources
        self.peak_memory = max(self.peak_memory, min(size, limits.memory))
        if size > limits.memory + limits.swap:
            self.oom_killed = True
            raise Signalled(signal.SIGKILL)

    def spawn(self, processes: int) -> None:
        """Have `processes` processes beside the program and the init.

        Raises:
            BlockingIOError: EAGAIN, beyond the limit.
        """
        self._heed()
        if processes + 2 > self.spec.resources.pids:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def interfaces(self) -> tuple[str, ...]:
        """Return the names of the network devices there are."""
        return ("lo",) if self.spec.network == "none" else ("lo", "eth0")

    def signal(self, number: int) -> bool:
        """Send the program a signal; say whether it can only be obeyed."""
        if number != signal.SIGKILL and self.ignore_sigterm:
            return False
        self._number = number
        self._signalled.set()
        return number == signal.SIGKILL

    def _heed(self) -> None:
        if self._signalled.is_set():
            if self._number != signal.SIGKILL:
                self._signalled.clear()
            raise Signalled(self._number)


Program = Callable[[Box], int]
"""What runs in a fake container: returns its exit code."""


def perform(program: Program, box: Box) -> int:
    """Run a program to its end and return its exit code; 128 + n when signal n ended it."""
    try:
        return program(box)
    except Signalled as ended:
        return _SIGNAL_EXIT + ended.number
