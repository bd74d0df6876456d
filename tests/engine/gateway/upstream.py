"""A model server for a container of its own: chat completions, whole and streamed, that state what they used.

It says `listening on PORT` and serves on the loopback device. Tokens differ from call to call; what was stated for
each call is told by `GET /stated`. Its one argument is the key it asks for.
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
from typing import Any

MODEL = "upstream-model-2"
_stated: list[dict[str, int]] = []
_lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell what was stated so far."""
        self._send(200, _stated)

    def do_POST(self) -> None:
        """Answer a chat completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {sys.argv[1]}":
            self._send(401, {"error": {"message": "wrong key", "type": "invalid_request_error", "code": None}})
            return
        number, usage = _use(body)
        head = {"id": f"chatcmpl-{number}", "created": 1, "model": MODEL, "service_tier": "default"}
        if body.get("stream"):
            options = body.get("stream_options") or {}
            self._stream(head | {"object": "chat.completion.chunk"}, usage, told=bool(options.get("include_usage")))
            return
        message = {"role": "assistant", "content": "a whole answer", "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        self._send(200, head | {"object": "chat.completion", "choices": [choice], "usage": usage})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it
        """Keep quiet."""

    def _send(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, head: dict[str, Any], usage: dict[str, Any], *, told: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        nothing: dict[str, Any] = {"usage": None} if told else {}
        first = {"role": "assistant", "content": ""}
        for delta in (first, {"content": "a streamed"}, {"content": " \u2026 answer"}, {}):
            choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
            self._event(json.dumps(head | {"choices": [choice]} | nothing, ensure_ascii=False))
        if told:
            self._event(json.dumps(head | {"choices": [], "usage": usage}))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        """Send an event in two pieces that are cut in the middle, as a network may cut them."""
        event = f"data: {data}\n\n".encode()
        middle = len(event) // 2
        for piece in (event[:middle], event[middle:]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()


def _use(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the number of a call and the usage that is stated for it: no two calls have the same."""
    with _lock:
        number = len(_stated) + 1
        used = {"prompt_tokens": 1000 + 7 * number, "completion_tokens": 3 + number, "cached_tokens": 2 * number}
        _stated.append({**used, "stream": int(bool(body.get("stream")))})
    usage = {
        "prompt_tokens": used["prompt_tokens"],
        "completion_tokens": used["completion_tokens"],
        "total_tokens": used["prompt_tokens"] + used["completion_tokens"],
        "prompt_tokens_details": {"cached_tokens": used["cached_tokens"], "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0},
    }
    return number, usage


if __name__ == "__main__":
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"listening on {server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
