"""What passes between a runner and the gateway process when one starts the other, or takes it over from a dead one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter

from runner.gateway.egress.index_settings import IndexSettings
from runner.gateway.session import Session, SessionSpec
from runner.gateway.settings import GatewaySettings, Spent
from runner.spec.model import Budget, Traffic

CONTROL_SOCKET = "control.sock"
"""In the gateway's folder: where a runner takes it over. Its side of the connection is what standard input and output
are to the runner that started the process."""
END = b"end\n"
"""Tells the process to end. A connection that ends without it is that of a runner that has died."""
PROTOCOL = 1
"""Of what passes between both; a process that speaks another one is replaced."""
_SAME = ("base_url", "traffic", "prices", "budget", "experiment", "index", "drain_seconds", "read_timeout")


class Boot(BaseModel):
    """First line that a runner says; the key comes this way so that no one can see it in a listing or on a disk."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    protocol: int = PROTOCOL
    folder: Path
    key: SecretStr | None
    base_url: str
    traffic: Traffic
    prices: Path | None
    budget: Budget
    experiment: str
    spent: Spent
    index: IndexSettings | None
    environment: Mapping[str, str]
    """Proxies and certificates that it has to have been started with."""
    lingers: bool
    drain_seconds: float
    read_timeout: float


class Left(BaseModel):
    """A session that is open and that no runner holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: SessionSpec
    session: Session
    spent: Spent = Spent()
    """What it has used up so far."""


class Answer(BaseModel):
    """What the process says to a runner that takes it over: a line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    refusal: str = ""
    """Why it cannot be taken over as it is; empty if it has been."""
    spent: Spent = Spent()
    """What the experiment has used up so far."""
    sessions: tuple[Left, ...] = ()

    def line(self) -> bytes:
        """Return it as it is said."""
        return self.model_dump_json().encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Read it. Raises ValueError if it is none."""
        return cls.model_validate_json(line)


def boot_line(settings: GatewaySettings, folder: Path, spent: Spent) -> bytes:
    """Return the line that tells the process everything, the key included: a pipe is seen by nobody else."""
    line: dict[str, Any] = {name: getattr(settings, name) for name in _SAME}
    line |= {"protocol": PROTOCOL, "folder": folder, "spent": spent}
    line |= {"environment": {name: value for name, value in settings.environment.items() if _matters(name)}}
    line |= {"lingers": settings.home is not None}
    line["key"] = settings.key.get_secret_value() if settings.key is not None else None
    return TypeAdapter(dict[str, Any]).dump_json(line) + b"\n"


def _matters(name: str) -> bool:
    """Tell whether a variable changes how providers are reached; a language or a search path does not."""
    return name.lower().endswith("_proxy") or name.startswith("SSL_CERT_")
