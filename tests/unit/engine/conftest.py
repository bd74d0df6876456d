"""A stub of the engine's API on a unix socket, for what a real engine does too seldom to test."""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

Answer = tuple[int, object]
"""Status and body: bytes as they are, anything else as JSON. Status 0 cuts the connection, -1 never answers."""

VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"}


@dataclass
class StubEngine:
    """Answers calls from a script; the last answer to a call is repeated."""

    host: str
    answers: dict[str, list[Answer]] = field(default_factory=lambda: {"GET /version": [(200, VERSION)]})
    asked: list[str] = field(default_factory=list)
    bodies: list[object] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, call: str, *answers: Answer) -> None:
        """Script the answers to `METHOD /path`, without version and query."""
        self.answers[call] = list(answers)

    def next(self, call: str) -> Answer:
        """Return the answer that is due."""
        due = self.answers.get(call, [(404, {"message": f"page not found: {call}"})])
        return due.pop(0) if len(due) > 1 else due[0]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    stub: StubEngine


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the library's
        """Stay quiet."""

    def _answer(self) -> None:
        stub = self.server.stub
        path = self.path.partition("?")[0]
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        length = int(self.headers.get("Content-Length") or 0)
        stub.bodies.append(json.loads(self.rfile.read(length)) if length else None)
        stub.asked.append(f"{self.command} {self.path}")
        status, body = stub.next(f"{self.command} {path}")
        if status < 0:
            stub.over.wait(200)
        if status <= 0:
            self.close_connection = True
            return
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_GET = do_POST = do_DELETE = _answer  # noqa: N815  the names are the library's


@pytest.fixture
def stub() -> Iterator[StubEngine]:
    """Start a stub on a socket of its own, in a short path as sockets need one."""
    with tempfile.TemporaryDirectory(prefix="stub") as folder:
        path = Path(folder) / "engine.sock"
        with _Server(str(path), _Handler) as server:
            server.stub = StubEngine(host=f"unix://{path}")
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            yield server.stub
            server.stub.over.set()
            server.shutdown()
            thread.join()
