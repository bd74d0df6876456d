"""The upstream's HTTP side: who may ask, what path is which format, faults on demand, streams cut in odd places.

A request asks for a fault in its text: `fault=KIND:TIMES:NAME`. The first TIMES requests with this NAME meet it:
`429` (with Retry-After), `500`, `reset` (before the first byte), `cut` (in the middle of a stream), `slow` (half a second).
"""

from __future__ import annotations

import http.server
import json
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from support.upstream import anthropic_api, openai_api
from support.upstream.said import MODEL, Book, Said

_FAULT = re.compile(rb"fault=(\w+):(\d+):(\w+)")
_AZURE = re.compile(r"^/openai(?:/v1|/deployments/[^/]+)?(?=/)")
_RETRY_AFTER = 1
_SLOW_SECONDS = 0.5
Json = dict[str, Any]


class Upstream(http.server.ThreadingHTTPServer):
    """Holds the book, the key and the faults that were met."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], book: Book, key: str) -> None:
        super().__init__(address, Handler)
        self.book = book
        self.key = key
        self.met: Counter[str] = Counter()

    def fault(self, body: bytes) -> str:
        """Return the fault that a request asks for, if there is one left of it."""
        found = _FAULT.search(body)
        if found is None:
            return ""
        kind, times, name = (one.decode() for one in found.groups())
        with self.book.lock:
            self.met[name] += 1
            return kind if self.met[name] <= int(times) else ""

    def shutdown_request(self, request: Any) -> None:
        """Close a connection without a word, so that one which is to end with a reset does."""
        self.close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about clients that left."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Upstream

    def do_GET(self) -> None:
        """Tell what was stated, or which models there are."""
        if self.path == "/stated":
            with self.server.book.lock:
                lines = list(self.server.book.lines)
            self._send(200, lines)
        elif self._may():
            one = {"id": MODEL, "object": "model", "created": 1, "owned_by": "upstream"}
            self._send(200, {"object": "list", "data": [one]})

    def do_POST(self) -> None:
        """Answer a call."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._may():
            return
        body: Json = json.loads(data)
        address = urlsplit(self.path).path
        path = "/v1/" + _AZURE.sub("", address).removeprefix("/v1").strip("/")
        fault = self.server.fault(data)
        if fault == "slow":
            time.sleep(_SLOW_SECONDS)
        elif fault and fault != "cut":
            self._fail(fault, path)
            return
        self._answer(path, body, cut=fault == "cut")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it
        """Keep quiet."""

    def _may(self) -> bool:
        """Tell whether a request has the key, wherever its vendor's clients put it; refuse it if not."""
        given = (self.headers["Authorization"], self.headers["x-api-key"], self.headers["api-key"])
        if {f"Bearer {self.server.key}", self.server.key} & set(given):
            return True
        self._send(401, {"error": {"message": "wrong key", "type": "invalid_request_error", "code": None}})
        return False

    def _answer(self, path: str, body: Json, *, cut: bool) -> None:
        book = self.server.book
        if path == "/v1/messages/count_tokens":
            book.note(path=path, status=200, counted=17)
            self._send(200, {"input_tokens": 17})
            return
        if path not in _ANSWERS:
            self._send(404, {"error": {"message": f"no {self.path}", "type": "invalid_request_error", "code": None}})
            return
        said = book.say(path, body, cut=cut, address=self.path)
        if body.get("stream") is True:
            self._stream(list(_events(path, said, body)), cut=cut)
            return
        self._send(200, _ANSWERS[path](said, body))

    def _fail(self, fault: str, path: str) -> None:
        status = int(fault) if fault.isdigit() else 0
        self.server.book.note(path=path, status=status, fault=fault)
        if status:
            error = {"message": f"fault {fault} on demand", "type": "server_error", "code": None}
            headers = {"Retry-After": str(_RETRY_AFTER)} if status == 429 else {}
            self._send(status, {"type": "error", "error": error}, headers)
        else:
            self._reset()

    def _reset(self) -> None:
        """End the connection with a reset: a linger time of 0, see socket(7)."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _send(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(content, ensure_ascii=False).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: list[bytes], *, cut: bool) -> None:
        """Send events, each in two pieces that are cut in its middle, as a network may cut them."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events[: len(events) // 2] if cut else events:
            middle = len(event) // 2
            for piece in (event[:middle], event[middle:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if cut:
            # What was written has to be on its way before the reset, which takes back what is not.
            time.sleep(0.1)
            self._reset()
        else:
            self.wfile.write(b"0\r\n\r\n")


_ANSWERS: Mapping[str, Callable[[Said, Json], Json]] = {
    "/v1/chat/completions": lambda said, _: openai_api.chat(said),
    "/v1/completions": lambda said, _: openai_api.completion(said),
    "/v1/responses": lambda said, _: openai_api.response(said),
    "/v1/embeddings": openai_api.embeddings,
    "/v1/messages": lambda said, _: anthropic_api.message(said),
}


def _events(path: str, said: Said, body: Json) -> Iterator[bytes]:
    match path:
        case "/v1/messages":
            yield from (
                f"event: {name}\ndata: {data}\n\n".encode() for name, data in anthropic_api.message_events(said)
            )
        case "/v1/responses":
            for data in openai_api.response_events(said):
                yield f"event: {json.loads(data)['type']}\ndata: {data}\n\n".encode()
        case "/v1/completions":
            yield from (f"data: {data}\n\n".encode() for data in openai_api.completion_events(said, body))
        case _:
            yield from (f"data: {data}\n\n".encode() for data in openai_api.chat_events(said, body))
