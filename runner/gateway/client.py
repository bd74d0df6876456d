"""Start the gateway process and steer it. Imports neither aiohttp nor the process's modules: they load over there."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from runner.errors import ConfigError
from runner.gateway.calls import read_calls, totals
from runner.gateway.leftovers import hold, remove_leftovers
from runner.gateway.session import Gateway, GatewayError, Session, SessionSpec, Totals
from runner.gateway.settings import GatewaySettings

_START_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_END_SECONDS = 10.0
_LOG_LINES = 5
_REMEDY = "type: runner go   again; it continues where this ended"


@contextlib.contextmanager
def start_gateway(settings: GatewaySettings) -> Iterator[Gateway]:
    """Start a gateway process for as long as the block lasts.

    It starts in the background: the first `open` waits until it is ready, and raises GatewayError if it never is.
    """
    gateway = GatewayProcess(settings)
    try:
        yield gateway
    finally:
        gateway.shutdown()


class GatewayProcess:
    """Holds a gateway process, its private folder, and the pipe whose end tells it that we are gone."""

    def __init__(self, settings: GatewaySettings) -> None:
        remove_leftovers(settings.runtime)
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="cgr-", dir=settings.runtime))
        self.held = hold(self.folder)
        self._specs: dict[str, SessionSpec] = {}
        self._lock = threading.Lock()
        self._ready = self._over = False
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "runner.gateway"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
                env=_environment(settings),
                start_new_session=True,
                pass_fds=(self.held,),
            )
        self._tell(_boot(settings, self.folder))

    @property
    def pid(self) -> int:
        """Return the process's id."""
        return self.process.pid

    def open(self, spec: SessionSpec) -> Session:
        """Open a session and listen on its socket before returning.

        Raises:
            GatewayError: if the process does not start, has died or refuses.
            ConfigError: if the session's scripted answers cannot be used.
        """
        self._await_ready()
        answers = spec.answers.absolute() if spec.answers is not None else None
        spec = dataclasses.replace(spec, answers=answers, calls_file=spec.calls_file.absolute())
        body = TypeAdapter(SessionSpec).dump_json(spec)
        session = TypeAdapter(Session).validate_json(self._request("POST", "/sessions", body, _ANSWER_SECONDS))
        self._specs[session.id] = spec
        return session

    def close(self, session: Session) -> Totals:
        """Stop listening, let calls in flight be metered, and return the session's totals.

        If the process has died, the totals are what it had recorded, with that as the last error.

        Raises:
            GatewayError: if the session is not open.
        """
        spec = self._specs.pop(session.id, None)
        if spec is None:
            raise GatewayError(f"the session {session.id} is not open")
        seconds = 2 * self.settings.drain_seconds + _ANSWER_SECONDS
        try:
            return TypeAdapter(Totals).validate_json(self._request("DELETE", f"/sessions/{session.id}", b"", seconds))
        except GatewayError as error:
            return _recorded(spec, error)

    def shutdown(self) -> None:
        """End the gateway and every session; doing it again does nothing."""
        with self._lock:
            if not self._over:
                self._over = True
                self._end()
                os.close(self.held)
                shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _tell(self, line: bytes) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(line)
                self.process.stdin.flush()

    def _await_ready(self) -> None:
        with self._lock:
            if self._ready:
                return
            output = self.process.stdout
            if self._over or output is None:
                raise GatewayError("the gateway has been shut down")
            heard = select.select([output], [], [], _START_SECONDS)[0]
            if not heard or output.readline() != b"ready\n":
                raise GatewayError("the gateway did not start", why=self._log_tail(), hint=_REMEDY)
            self._ready = True

    def _request(self, method: str, path: str, body: bytes, seconds: float) -> bytes:
        connection = http.client.HTTPConnection("gateway")
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(seconds)
            connection.sock.connect(os.fspath(self.folder / "admin.sock"))
            connection.request(method, path, body=body)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise GatewayError(f"the gateway does not answer: {error}", why=self._log_tail(), hint=_REMEDY) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise _error(response.status, content)
        return content

    def _log_tail(self) -> str:
        """Return what the process said last, as evidence."""
        try:
            lines = (self.folder / "log").read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]
        except OSError:
            lines = []
        code = self.process.poll()
        return "\n".join([f"exit code {code}" if code is not None else "it is still there", *lines])


def _environment(settings: GatewaySettings) -> dict[str, str]:
    """Return the process's environment: ours to import from, and no netrc, whose passwords would replace the key."""
    here = os.fspath(Path(__file__).parents[2])
    return {**settings.environment, "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1", "NETRC": os.devnull}


def _boot(settings: GatewaySettings, folder: Path) -> bytes:
    line = {
        "folder": os.fspath(folder),
        "key": settings.key.get_secret_value() if settings.key is not None else None,
        "base_url": settings.base_url,
        "drain_seconds": settings.drain_seconds,
        "read_timeout": settings.read_timeout,
    }
    return json.dumps(line).encode() + b"\n"


def _error(status: int, content: bytes) -> GatewayError | ConfigError:
    try:
        error: dict[str, Any] = json.loads(content)
    except ValueError:
        error = {"what": f"the gateway answered {status}"}
    kind = ConfigError if error.pop("kind", "") in {"ConfigError", "SpecError"} else GatewayError
    return kind(error.pop("what"), **error)


def _recorded(spec: SessionSpec, error: GatewayError) -> Totals:
    mine = [
        call
        for call in read_calls(spec.calls_file).calls
        if (call.step, call.attempt, call.run) == (spec.step, spec.attempt, spec.run)
    ]
    found = totals(mine)
    return Totals(
        api_calls=found.api_calls,
        tokens_in=None,
        tokens_out=None,
        tokens_cached=None,
        cost_usd=None,
        failed_calls=found.failed_calls,
        unmetered_calls=found.unmetered_calls + 1,
        last_error=error.what,
        last_error_fault="runner",
    )
