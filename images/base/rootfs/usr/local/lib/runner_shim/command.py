"""Run the command of a step: its deadline, signals from outside, and what is left when it has ended."""

from __future__ import annotations

import os
import select
import signal
import time

from runner_shim.loop import Loop
from runner_shim.output import Output
from runner_shim.processes import alone, kill_all
from runner_shim.report import disk_io

EXIT_TIMED_OUT, EXIT_STOPPED = 124, 143
FLUSH_SECONDS = 5.0
"""How long a reader of our output that has stalled, or a process that the kernel cannot kill, may hold up the end."""
STOP_SHARE = 0.8
"""Part of the grace given when stopped from outside: the engine kills us after all of it, and the report comes first."""
WAKES = 4096


class Command:
    """Holds the command while it runs: the deadline, signals from outside, and what is left when it has ended."""

    def __init__(
        self, loop: Loop, argv: list[str], deadline: float, grace: float, limit: int, *, stdin: str = os.devnull
    ) -> None:
        self.loop, self.grace = loop, grace
        self.alone = alone()
        self.timed_out = self.stopped = False
        self.asked_to_stop = False
        self.killed = 0
        self.status: int | None = None
        self.usage: tuple[float, int] | None = None
        """CPU seconds and peak resident bytes of the command and of the children it waited for."""
        self._hear()
        self.started = time.monotonic()
        self.deadline = self.started + deadline
        outputs, inputs = zip(*(os.pipe(), os.pipe()), strict=True)
        self.pid = os.posix_spawnp(
            argv[0],
            argv,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
                *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(inputs, 1)),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # the interpreter ignores them; the command must not
        )
        for fd in inputs:
            os.close(fd)
        self.outputs = [Output(loop, fd, number, limit) for number, fd in enumerate(outputs, 1)]

    def _hear(self) -> None:
        """Let signals wake the loop."""
        heard, wake = os.pipe()
        for fd in (heard, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self.loop.watch(heard, select.POLLIN, lambda: os.read(heard, WAKES))

    def _stop(self, *_signal: object) -> None:
        self.asked_to_stop = True

    def wait(self) -> None:
        """Wait for the command to end, and make it end when its time is over or it shall stop."""
        while not self._reaped():
            now = time.monotonic()
            if self.asked_to_stop or now >= self.deadline:
                self._end()
                return
            self.loop.turn(self.deadline - now)
        self.killed += kill_all(self.pid, everything=self.alone)

    def _end(self) -> None:
        """Ask the command's group to end, and kill what is there after the grace."""
        self.stopped, self.timed_out = self.asked_to_stop, not self.asked_to_stop
        if self.status is None:
            os.killpg(self.pid, signal.SIGTERM)
        until = time.monotonic() + self.grace * (STOP_SHARE if self.stopped else 1.0)
        self._turn_until(until)
        self.killed += kill_all(self.pid, everything=self.alone)
        self._turn_until(time.monotonic() + FLUSH_SECONDS)

    def _turn_until(self, moment: float) -> None:
        while not self._reaped() and (left := moment - time.monotonic()) > 0:
            self.loop.turn(left)

    def _reaped(self) -> bool:
        if self.status is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.usage = (used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
        return self.status is not None

    def flush(self) -> None:
        """Pass on what is still held, as far as its reader takes it."""
        for output in self.outputs:
            output.finish()
        until = time.monotonic() + FLUSH_SECONDS
        while any(output.pending for output in self.outputs) and (left := until - time.monotonic()) > 0:
            self.loop.turn(left)
        for output in self.outputs:
            output.lost += len(output.pending)

    @property
    def exit_code(self) -> int:
        if self.timed_out:
            return EXIT_TIMED_OUT
        if self.stopped or self.status is None:
            return EXIT_STOPPED
        return self.status if self.status >= 0 else 128 - self.status

    def report(self) -> dict[str, object]:
        """Return what happened."""
        out, err = self.outputs
        cpu, memory = self.usage or (None, None)
        return {
            "exit_code": self.exit_code,
            "signal": -self.status if self.status is not None and self.status < 0 else None,
            "timed_out": self.timed_out,
            "stopped": self.stopped,
            "seconds": round(time.monotonic() - self.started, 6),
            "stdout_bytes": out.total,
            "stderr_bytes": err.total,
            "dropped_stdout": out.dropped,
            "dropped_stderr": err.dropped,
            "cpu_seconds": cpu,
            "max_rss_bytes": memory,
            "killed_processes": self.killed,
            "error": "",
            **disk_io(),
        }
