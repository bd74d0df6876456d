#!/usr/bin/env python3
"""A model server that costs next to nothing: fixed answers to chat completions, on a loopback port that it prints.

A request says in its text what it wants: `events=N` for a stream of N events, `pace=MS` for so many milliseconds
between them. Nothing else of a request is looked at but its length. Each answer has a number of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
from typing import Any

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_EVENTS = re.compile(rb"events=(\d+)")
_PACE = re.compile(rb"pace=(\d+)")
_USAGE = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
_NUMBER = b"0000000000"
"""Where an answer's own number is put."""
_HEAD = {"id": f"chatcmpl-{_NUMBER.decode()}", "created": 1, "model": "null"}
_numbers = itertools.count(1)


def _whole() -> bytes:
    message = {"role": "assistant", "content": "A fixed answer, of about the length of a line. " * 8}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = json.dumps({**_HEAD, "object": "chat.completion", "choices": choices, "usage": _USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _event(content: str | dict[str, Any]) -> bytes:
    """Return an event as a chunk of a body, see RFC 9112, section 7.1."""
    chunk = {**_HEAD, "object": "chat.completion.chunk"}
    event = f"data: {content if isinstance(content, str) else json.dumps({**chunk, **content})}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


_ANSWER = _whole()
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_WORD = _event({"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}], "usage": None})
_END = (
    _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None})
    + _event({"choices": [], "usage": _USAGE})
    + _event("[DONE]")
    + b"0\r\n\r\n"
)


def _numbered(answer: bytes, number: int) -> bytes:
    return answer.replace(_NUMBER, b"%010d" % number)


class Answering(asyncio.Protocol):
    """Answers one connection, request after request."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport | None = None
        self._streams: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what TCP servers are given
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self._held += data
        head, blank, body = self._held.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or length is None or len(body) < int(length[1]) or self._transport is None:
            return
        self._held = b""
        events = _EVENTS.search(body)
        if events is None:
            self._transport.write(_numbered(_ANSWER, next(_numbers)))
            return
        pace = _PACE.search(body)
        task = asyncio.create_task(self._stream(int(events[1]), int(pace[1]) / 1000 if pace else 0.0))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _stream(self, events: int, pace: float) -> None:
        """Write events, on the beat whatever a write costs."""
        loop = asyncio.get_running_loop()
        assert self._transport is not None  # noqa: S101  a request has come
        self._transport.write(_STREAM_HEAD)
        given = next(_numbers)
        word, end = _numbered(_WORD, given), _numbered(_END, given)
        begun = loop.time()
        for number in range(events):
            if self._transport.is_closing():
                return
            self._transport.write(word)
            if pace:
                await asyncio.sleep(begun + (number + 1) * pace - loop.time())
            elif number % 16 == 0:
                # Others have their turn, and the kernel time to take what was written.
                await asyncio.sleep(0)
        self._transport.write(end)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
