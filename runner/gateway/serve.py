"""The meter alone: one session without a run, for any client of this machine, or of others if it is exposed."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import shlex
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from runner.errors import ConfigError
from runner.gateway.answers import load_answers
from runner.gateway.calls import Call, read_calls
from runner.gateway.recording import load_recording
from runner.gateway.session import Listen, Session, SessionSpec
from runner.spec.model import Budgets, Model

NAME = "serve"
"""What stands for run, framework, scenario and step in the records of a served session."""
_ANYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104  recognised here, not bound
_PROBE_SECONDS = 2.0


def served(
    model: Model,
    calls_file: Path,
    *,
    budgets: Budgets,
    allow: tuple[str, ...] = (),
    answers: Path | None = None,
    recording: Path | None = None,
    step: str | None = None,
) -> SessionSpec:
    """Return the session that is served.

    It is a further attempt for the calls file: calls in it keep their numbers, and count for the budgets.

    Args:
        model: who answers.
        calls_file: where calls are recorded; it may hold those of earlier times.
        budgets: what may be used up, by all attempts together in `run`.
        allow: hosts that may be reached through the proxy.
        answers: file of scripted answers.
        recording: run directory whose calls are answered again.
        step: whose answers are given, of the file or the run; by default the first.

    Raises:
        ConfigError: if the answers or the recording cannot be used, or have no such step.
        StorageError: if the recording is damaged.
    """
    earlier = [call.attempt for call in read_calls(calls_file).calls if call.run == NAME]
    return SessionSpec(
        run=NAME,
        framework=NAME,
        scenario=NAME,
        step=_step(step, answers, recording),
        index=1,
        attempt=max(earlier, default=0) + 1,
        model=model,
        answers=answers,
        calls_file=calls_file,
        budgets=budgets,
        allow=allow,
        recording=recording,
    )


def _step(wanted: str | None, answers: Path | None, recording: Path | None) -> str:
    """Return the step whose answers are given."""
    steps: tuple[str, ...] = ()
    if answers is not None:
        steps = tuple(load_answers(answers).steps)
    elif recording is not None:
        steps = load_recording(recording).steps
    if wanted is not None and wanted not in steps:
        raise ConfigError(f"there are no answers for a step `{wanted}`", hint=f"choices: {', '.join(steps) or 'none'}")
    return wanted or next(iter(steps), NAME)


def require_private(host: str) -> None:
    """Refuse an address that other machines reach.

    Raises:
        ConfigError: if it is one, or none at all.
    """
    try:
        private = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        private = False
    if not private:
        raise ConfigError(
            f"--host {host} may be reached from other machines",
            why="whoever has the token could spend your money, and calls would cross the network unencrypted",
            hint="leave --host out, or add --expose if that is what you want",
        )


def free_socket(path: Path) -> None:
    """Make room for a socket: one that nobody listens on is removed.

    Raises:
        ConfigError: if something else stands there, somebody listens, or its folder cannot be used.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent} for the socket", hint=f"type: mkdir -p {path.parent}")
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{path} is there and is no socket", hint="choose another --socket")
        if _listens(path):
            raise ConfigError(f"somebody serves at {path} already", hint="choose another --socket")
        path.unlink()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_SECONDS)
        problem = probe.connect_ex(os.fspath(path))
    return problem not in {errno.ECONNREFUSED, errno.ENOENT}


def exports(session: Session, listen: Listen, model: Model) -> list[str]:
    """Return lines of shell that lead a client to the session, and with it the usual SDKs."""
    found = dict(session.environment(model.name, _address(session, listen)))
    if model.mismatch == "keep":
        del found["RUNNER_MODEL"]
    lines = [f"export {name}={shlex.quote(value)}" for name, value in found.items()]
    where = f"# at the socket {listen.path}, as with curl --unix-socket" if listen.path is not None else ""
    return [*lines, where] if where else lines


def _address(session: Session, listen: Listen) -> str:
    """Return how clients name the address, with the port."""
    if listen.path is not None:
        return "localhost"
    host = socket.gethostname() if listen.host in _ANYWHERE else listen.host
    return f"[{host}]:{session.port}" if ":" in host else f"{host}:{session.port}"


@dataclass(kw_only=True)
class Tail:
    """Holds how far a calls file has been read."""

    path: Path
    offset: int = 0
    cut: bytes = field(default=b"", init=False)

    def skip(self) -> None:
        """Pass over what is there already."""
        self.offset = self.path.stat().st_size if self.path.is_file() else 0

    def read(self) -> list[Call]:
        """Return the calls that were added since."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        self.offset += len(data)
        *lines, self.cut = (self.cut + data).split(b"\n")
        calls = []
        for line in lines:
            with contextlib.suppress(ValidationError):
                calls.append(Call.model_validate_json(line))
        return calls
