"""A runner that can be killed: a process that starts a gateway, opens sessions in it, and waits for its end."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr, TypeAdapter

from runner.gateway.client import GatewayProcess
from runner.gateway.session import Session, SessionSpec
from runner.gateway.settings import GatewaySettings

_SETTINGS = TypeAdapter(GatewaySettings)
_SPECS = TypeAdapter(list[SessionSpec])
_SESSIONS = TypeAdapter(list[Session])


@dataclass(frozen=True, kw_only=True)
class Mortal:
    """Holds the process and what it said: its gateway and its sessions."""

    process: subprocess.Popen[bytes]
    gateway: int
    """Id of the gateway's process."""
    folder: str
    sessions: Sequence[Session]

    def kill(self) -> None:
        """Kill the runner, not its gateway."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def mortal(settings: GatewaySettings, specs: Sequence[SessionSpec]) -> Iterator[Mortal]:
    """Start a runner with these sessions open; it is killed when the block ends, if it has not been before."""
    said = {
        "settings": _SETTINGS.dump_python(settings, mode="json"),
        "key": settings.key.get_secret_value() if settings.key is not None else None,
        "specs": _SPECS.dump_python(list(specs), mode="json"),
    }
    with subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(said).encode() + b"\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            sessions = _SESSIONS.validate_python(answer.pop("sessions"))
            yield Mortal(process=process, sessions=sessions, **answer)
        finally:
            process.kill()


def main() -> None:
    """Do as the first line of standard input says, then wait."""
    said = json.loads(sys.stdin.readline())
    settings = _SETTINGS.validate_python({**said["settings"], "key": None})
    key = SecretStr(said["key"]) if said["key"] is not None else None
    gateway = GatewayProcess(replace(settings, key=key), restarts=100)
    sessions = [gateway.open(spec) for spec in _SPECS.validate_python(said["specs"])]
    answer = {
        "gateway": gateway.pid,
        "folder": str(gateway.folder),
        "sessions": _SESSIONS.dump_python(sessions, mode="json"),
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
