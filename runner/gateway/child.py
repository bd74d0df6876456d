"""One gateway process as its parent sees it: started, spoken to over its socket, listened to, ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from runner.errors import ConfigError, RunnerError
from runner.gateway.session import GatewayError
from runner.gateway.settings import GatewaySettings, Spent

ADMIN_SOCKET = "admin.sock"
READY = b"ready\n"
START_SECONDS = 60.0
_END_SECONDS = 10.0
_LOG_LINES = 5
_LOG_BYTES = 16 * 1024
_SETTINGS = ("base_url", "traffic", "prices", "budget", "index", "drain_seconds", "read_timeout")


class Child:
    """Holds one process of the gateway. It ends when its standard input does.

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
        self._say(_boot(settings, folder, spent))

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
        """Ask the process for something and return the answer.

        Raises:
            OSError: if it does not answer, TimeoutError among them.
            GatewayError: if it refuses.
            ConfigError: if it refuses because of what the user wrote.
        """
        connection = http.client.HTTPConnection("gateway")
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(seconds)
            connection.sock.connect(os.fspath(self.folder / ADMIN_SOCKET))
            connection.request(method, path, body=body)
            response = connection.getresponse()
            content = response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"the answer broke off: {error}") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise _error(response.status, content)
        return content

    def end(self) -> int:
        """End the process, gently first, and return its exit code."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def hang_up(self) -> None:
        """Stop listening, once the process has said all it had to say."""
        if self.process.stdout is not None:
            self.process.stdout.close()

    def log_tail(self) -> str:
        """Return how the process fares and what it said last, as evidence."""
        code = self.process.poll()
        head = f"exit code {code}" if code is not None else "it is still there"
        try:
            with (self.folder / "log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
        except OSError:
            lines = []
        return "\n".join([head, *lines])

    def _say(self, line: bytes) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(line)
                self.process.stdin.flush()


def _environment(settings: GatewaySettings) -> dict[str, str]:
    """Return the process's environment: ours to import from, and no netrc, whose passwords would replace the key."""
    here = os.fspath(Path(__file__).parents[2])
    return {**settings.environment, "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1", "NETRC": os.devnull}


def _boot(settings: GatewaySettings, folder: Path, spent: Spent) -> bytes:
    """Return the line that tells the process everything, the key included: a pipe is seen by nobody else."""
    line = {name: getattr(settings, name) for name in _SETTINGS} | {"folder": folder, "spent": spent}
    line["key"] = settings.key.get_secret_value() if settings.key is not None else None
    return TypeAdapter(dict[str, Any]).dump_json(line) + b"\n"


def _error(status: int, content: bytes) -> RunnerError:
    try:
        error: dict[str, Any] = json.loads(content)
    except ValueError:
        error = {"what": f"the gateway answered {status}"}
    kind = ConfigError if error.pop("kind", "") in {"ConfigError", "SpecError"} else GatewayError
    return kind(error.pop("what"), **error)
