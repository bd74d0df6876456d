"""Somebody who answers model calls on a session's socket: a gateway in memory that can really be asked."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from runner.gateway.session import MeteredSink, Session, SessionSpec, Totals, ignore
from runner.names import GATEWAY_SOCKET
from runner.testing import NO_CALLS, FakeGateway

Reply = tuple[int, Any]
"""Status and JSON of an answer; bytes are sent as they are."""


def chat(text: object, **more: object) -> Reply:
    """Return a chat completion that says a text."""
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}]}


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@contextmanager
def answering(socket: Path, answer: Callable[[Asked], Reply]) -> Iterator[list[Asked]]:
    """Answer requests on a socket while the block lasts; yield what was asked so far."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            one = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(content))
            asked.append(one)
            status, body = answer(one)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it
            """Keep quiet."""

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Keep quiet: who hangs up is part of the tests."""

    with Server(str(socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()
            socket.unlink()


@dataclass
class TalkingGateway:
    """A gateway whose sessions answer model calls, and whose totals are set by hand."""

    root: Path
    answer: Callable[[Asked], Reply] = lambda _: chat("Fine.")
    totals: Totals = NO_CALLS
    asked: list[Asked] = field(default_factory=list)
    specs: list[SessionSpec] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._inner = FakeGateway(self.root, lambda _: self.totals)
        self._served: dict[str, Any] = {}

    def open(self, spec: SessionSpec, on_call: MeteredSink = ignore) -> Session:
        self.specs.append(spec)
        session = self._inner.open(spec, on_call)
        served = answering(session.directory / GATEWAY_SOCKET, self._answer)
        served.__enter__()
        self._served[session.id] = served
        return session

    def close(self, session: Session) -> Totals:
        self._served.pop(session.id).__exit__(None, None, None)
        return self._inner.close(session)

    def forget(self, calls_file: Path) -> None:
        self._inner.forget(calls_file)

    def shutdown(self) -> None:
        self._inner.shutdown()

    def _answer(self, one: Asked) -> Reply:
        self.asked.append(one)
        return self.answer(one)
