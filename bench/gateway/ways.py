"""The two ways to a model's server: directly, and through the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.gateway.client import GatewayProcess
from runner.gateway.session import Session, SessionSpec
from runner.gateway.settings import gateway_settings
from runner.spec.model import Model

_KEY = "sk-bench"
_LIMIT = 1 << 20
_RULES = "Be brief. " * 200
_numbers = itertools.count()

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two ways to the same server."""

    connect: Callable[[], Awaitable[Connection]]
    token: str

    def request(self, words: str) -> bytes:
        """Return a request of about 2 KiB that is like no other; `words` say what the server is to do."""
        told = {"stream": True, "stream_options": {"include_usage": True}} if words.startswith("events=") else {}
        said = {"role": "user", "content": f"{words} call={next(_numbers)}"}
        body = json.dumps({"model": "m", "messages": [{"role": "system", "content": _RULES}, said], **told}).encode()
        lines = ("POST /v1/chat/completions HTTP/1.1", "Host: model", f"Authorization: Bearer {self.token}")
        head = "\r\n".join((*lines, "Content-Type: application/json", f"Content-Length: {len(body)}", "", ""))
        return head.encode() + body


@dataclass(frozen=True, kw_only=True)
class Ways:
    """Both of them."""

    direct: Side
    gateway: Side
    pid: int
    """Of the gateway's process."""

    @property
    def sides(self) -> tuple[tuple[str, Side], tuple[str, Side]]:
        return ("direct", self.direct), ("gateway", self.gateway)


@contextlib.contextmanager
def open_ways(folder: Path) -> Iterator[Ways]:
    """Start the server and the gateway, each in a process of its own, and end them after the block.

    Args:
        folder: where calls are recorded.
    """
    with _server() as port:
        model = Model(provider="openai", name="m", base_url=f"http://127.0.0.1:{port}/v1")
        gateway = GatewayProcess(gateway_settings(model, {"OPENAI_API_KEY": _KEY}))
        try:
            session = gateway.open(_spec(model, folder))
            yield Ways(direct=_direct(port), gateway=_through(session), pid=gateway.pid)
            gateway.close(session)
        finally:
            gateway.shutdown()


@contextlib.contextmanager
def _server() -> Iterator[int]:
    command = [sys.executable, str(Path(__file__).with_name("null_upstream.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _spec(model: Model, folder: Path) -> SessionSpec:
    return SessionSpec(
        run="bench",
        framework="bench",
        scenario="bench",
        step="one",
        index=1,
        attempt=1,
        model=model,
        answers=None,
        calls_file=folder / "llm" / "calls.jsonl",
    )


def _direct(port: int) -> Side:
    return Side(connect=lambda: asyncio.open_connection("127.0.0.1", port, limit=_LIMIT), token=_KEY)


def _through(session: Session) -> Side:
    socket = str(session.directory / "gateway.sock")
    return Side(connect=lambda: asyncio.open_unix_connection(socket, limit=_LIMIT), token=session.token)
