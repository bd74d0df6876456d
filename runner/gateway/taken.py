"""A gateway process that a dead runner left, taken over: spoken to, listened to and ended like one that we started."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from runner.gateway.asking import request
from runner.gateway.boot import CONTROL_SOCKET, END, Answer, boot_line
from runner.gateway.child import END_SECONDS, log_tail
from runner.gateway.settings import GatewaySettings

_ANSWER_SECONDS = 15.0
"""How long a gateway may take to be taken over: sessions that have just expired are closed first."""
_LAST_WORDS_SECONDS = 3.0
"""How long one that is about to end may take for it, before it is killed; calls under way get their lines then."""
_LOOK_AGAIN = 0.02
_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid; of a connection to a socket, those of who listens there."""


class Foreign:
    """Holds a process that is no child of ours, known by its id and its start, so that it is taken for no other.

    Args:
        pid: the process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._began = _began(pid)

    def kill(self) -> None:
        """Kill it; one that has ended is left alone."""
        if self.wait(0):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait until it has ended; False if it has not in that time."""
        end = time.monotonic() + seconds
        while self._began is not None and _began(self.pid) == self._began:
            if time.monotonic() >= end:
                return False
            time.sleep(_LOOK_AGAIN)
        return True


class Taken:
    """Holds a gateway process of a dead runner, as its runner from now on.

    Args:
        folder: its private folder.
        process: the process.
        connection: the line to it, on which it has answered.
        answer: what it said: the sessions that it has open, and what they have used up.
    """

    def __init__(self, folder: Path, process: Foreign, connection: socket.socket, answer: Answer) -> None:
        self.folder = folder
        self.process = process
        self.answer = answer
        self._connection = connection

    def await_ready(self) -> bool:
        """Tell that it serves."""
        return True

    def lines(self) -> Iterator[bytes]:
        """Yield what the process tells, line by line, until it ends."""
        with self._connection.makefile("rb") as said, contextlib.suppress(ConnectionResetError):
            yield from said

    def request(self, method: str, path: str, body: bytes, seconds: float) -> bytes:
        """Ask the process for something; see `runner.gateway.asking.request`."""
        return request(self.folder, method, path, body, seconds)

    def end(self) -> None:
        """End the process, gently first."""
        with contextlib.suppress(OSError):
            self._connection.sendall(END)
        if not self.process.wait(END_SECONDS):
            self.process.kill()
            self.process.wait(END_SECONDS)

    def hang_up(self) -> None:
        """Stop listening, once the process has said all it had to say."""
        self._connection.close()

    def has_ended(self) -> bool:
        """Say whether the process has ended, though what it said may not have been heard yet."""
        return self.process.wait(0)

    def log_tail(self) -> str:
        """Return how the process fares and what it said last, as evidence."""
        return log_tail(self.folder, "it has ended" if self.has_ended() else "it is still there")


def take_over(folder: Path, settings: GatewaySettings) -> Taken | None:
    """Become the runner of the gateway that serves in a folder.

    Args:
        folder: the gateway's, whose runner is dead; we hold what tells that its runner lives.
        settings: what the sessions are to have that we open.

    Returns:
        The gateway. None if there is none: it has died or is about to end, or could not be taken over as it is, for
        other proxies or for want of an answer, and was killed so that another one can go on in the folder.
    """
    connection = socket.socket(socket.AF_UNIX)
    process = None
    try:
        connection.settimeout(_ANSWER_SECONDS)
        connection.connect(os.fspath(folder / CONTROL_SOCKET))
        pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        process = Foreign(pid)
        connection.sendall(boot_line(settings, folder, settings.spent))
        answer = Answer.read(_line(connection))
    except (OSError, ValueError):
        answer = Answer(refusal="it does not answer")
        if process is not None:
            process.wait(_LAST_WORDS_SECONDS)
    if not answer.refusal and process is not None:
        connection.settimeout(None)
        return Taken(folder, process, connection, answer)
    connection.close()
    if process is not None:
        process.kill()
        process.wait(END_SECONDS)
    return None


def _line(connection: socket.socket) -> bytes:
    """Read one line, and no byte more: those after it are for who listens from then on."""
    pieces: list[bytes] = []
    while True:
        seen = connection.recv(1 << 16, socket.MSG_PEEK)
        if not seen:
            raise ConnectionError("the gateway has gone")
        end = seen.find(b"\n") + 1
        pieces.append(connection.recv(end or len(seen)))
        if end:
            return b"".join(pieces)


def _began(pid: int) -> str | None:
    """Return when a process started, in ticks since the boot, see proc(5); None if it is there no more."""
    try:
        state, *values = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in {"Z", "X"} else values[_START]


_START = 18
"""Position of the start time behind the state, which is the third value of the line."""
