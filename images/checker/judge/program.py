"""A program of the application's: started in a session of its own, its output kept within bounds, ended with all of its children."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from judge import proc

_KEPT = 64 * 1024
"""Bytes at the end of the output that are kept."""
_TAIL = 3000
"""Characters of them that go into evidence."""
_CHUNK = 8192
_POLL = 0.05
_MARK = "JUDGED_PROGRAM"


class Program:
    """A running program; leaving the context ends it and everything it started."""

    def __init__(self, argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            OSError: if it cannot be started at all.
        """
        self._token = f"{_MARK}={secrets.token_hex(8)}"
        self._kept: deque[bytes] = deque()
        self._size = 0
        name, _, value = self._token.partition("=")
        output, given = os.pipe()
        # Before the program can have used up the processes and threads that there may be.
        self._reader = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()
        try:
            self._process = subprocess.Popen(
                list(argv),
                cwd=folder,
                env={**env, name: value},
                stdin=subprocess.DEVNULL,
                stdout=given,
                stderr=given,
                start_new_session=True,
            )
        finally:
            os.close(given)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def exit_code(self) -> int | None:
        """Exit code; negative: the signal that ended it; None: it runs."""
        return self._process.poll()

    def alive(self) -> bool:
        """Tell whether it or something that it started runs."""
        return self.exit_code is None or bool(self._members())

    def listeners(self) -> list[proc.Listener]:
        """List the ports on which it, or what it started, listens."""
        return proc.listeners(self._members())

    def tail(self) -> str:
        """Return the last of what it printed."""
        return b"".join(list(self._kept)).decode("utf-8", "replace")[-_TAIL:]

    def wait(self, seconds: float) -> int | None:
        """Wait until it has ended; None if it has not by then. What it started may still run."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.exit_code

    def stop(self, grace: float) -> bool:
        """Ask it to end, then end it.

        Args:
            grace: seconds between the two.

        Returns:
            whether it ended by itself.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        until = time.monotonic() + grace
        while time.monotonic() < until and self.alive():
            time.sleep(_POLL)
        polite = not self.alive()
        self.kill()
        return polite

    def kill(self) -> None:
        """End it and everything that it started; what forks while we look is found the next time."""
        for _ in range(100):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            members = self._members()
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not members:
                break
            time.sleep(_POLL)
        self._process.wait()
        self._reader.join(1)

    def _members(self) -> set[int]:
        return proc.family(self._process.pid, self._token.encode()) - {os.getpid()}

    def _read(self, output: int) -> None:
        """Read to the end, so that nobody who prints has to wait, and keep the last of it."""
        while chunk := os.read(output, _CHUNK):
            self._kept.append(chunk)
            self._size += len(chunk)
            while self._size - len(self._kept[0]) > _KEPT:
                self._size -= len(self._kept.popleft())
        os.close(output)


def complete(argv: Sequence[str], folder: Path, env: Mapping[str, str], seconds: float) -> tuple[int | None, str]:
    """Run a program to its end.

    Args:
        argv: program and arguments.
        folder: where.
        env: its whole environment.
        seconds: wall time it may take.

    Returns:
        exit code, None if its time was up or it could not be started; and the last of what it printed.
    """
    try:
        with Program(argv, folder, env) as program:
            code = program.wait(seconds)
        return code, program.tail()
    except OSError as error:
        return None, f"{argv[0]}: {error.strerror}"
