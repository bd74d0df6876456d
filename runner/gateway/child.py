"""One gateway process as its runner sees it: started, spoken to over its socket, listened to, ended."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from runner.gateway.asking import request
from runner.gateway.boot import END, boot_line
from runner.gateway.settings import GatewaySettings, Spent

READY = b"ready\n"
START_SECONDS = 60.0
END_SECONDS = 10.0
_LOG_LINES = 5
_LOG_BYTES = 16 * 1024


class Child:
    """Holds one process of the gateway that we started.

    It ends when it is told to, or when its standard input does and it may not outlive us.

    Args:
        settings: what it is started with.
        folder: its private folder, with the log and the sockets.
        held: descriptor of the folder's lock, which the process inherits.
        spent: what the experiment has used up so far.
    """

    def __init__(self, settings: GatewaySettings, folder: Path, held: int, spent: Spent) -> None:
        self.folder = folder
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "runner.gateway"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=_environment(settings),
                start_new_session=True,
                pass_fds=(held,),
            )
        self._say(boot_line(settings, folder, spent))

    def await_ready(self, seconds: float = START_SECONDS) -> bool:
        """Wait for the process to listen on its admin socket; False if it ends or takes too long."""
        output = self.process.stdout
        if output is None or not select.select([output], [], [], seconds)[0]:
            return False
        return output.readline() == READY

    def lines(self) -> Iterator[bytes]:
        """Yield what the process tells, line by line, until it ends."""
        if self.process.stdout is not None:
            yield from self.process.stdout

    def request(self, method: str, path: str, body: bytes, seconds: float) -> bytes:
        """Ask the process for something; see `runner.gateway.asking.request`."""
        return request(self.folder, method, path, body, seconds)

    def end(self) -> int:
        """End the process, gently first, and return its exit code."""
        self._say(END)
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def hang_up(self) -> None:
        """Stop listening, once the process has said all it had to say."""
        if self.process.stdout is not None:
            self.process.stdout.close()

    def has_ended(self) -> bool:
        """Say whether the process has ended, though what it said may not have been heard yet."""
        return self.process.poll() is not None

    def log_tail(self) -> str:
        """Return how the process fares and what it said last, as evidence."""
        code = self.process.poll()
        return log_tail(self.folder, f"exit code {code}" if code is not None else "it is still there")

    def _say(self, line: bytes) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(line)
                self.process.stdin.flush()


def log_tail(folder: Path, state: str) -> str:
    """Return how a process fares and the last lines of its log."""
    try:
        with (folder / "log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
    except OSError:
        lines = []
    return "\n".join([state, *lines])


def _environment(settings: GatewaySettings) -> dict[str, str]:
    """Return the process's environment: ours to import from, and no netrc, whose passwords would replace the key."""
    here = os.fspath(Path(__file__).parents[2])
    return {**settings.environment, "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1", "NETRC": os.devnull}
