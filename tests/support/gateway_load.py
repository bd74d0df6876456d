"""Load for a gateway that is killed in the middle of it: an endpoint and clients that both count, and what must hold."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Self

from aiohttp import web
from support.endpoints import serving
from support.talk import ask, say

from runner.gateway.calls import CallsRead
from runner.gateway.session import Session

CLIENTS = 6
_PATIENCE = 120.0


class Counting:
    """Counts what it was asked and what it answered to the end; each request has its own number and usage."""

    def __init__(self) -> None:
        self.began: Counter[int] = Counter()
        self.answered: Counter[int] = Counter()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer whole or as a stream, slowly enough to be cut off now and then."""
        body = await request.json()
        number = body["seed"]
        self.began[number] += 1
        usage = {"prompt_tokens": 1000 + number, "completion_tokens": number % 7, "total_tokens": 1000 + number}
        head = {"id": "c", "object": "chat.completion", "created": 1, "model": "real"}
        await asyncio.sleep(0.002 * (number % 5))
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
            self.answered[number] += 1
            return web.json_response({**head, "choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in ("a", "b", "c"):
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            await response.write(b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n")
            await asyncio.sleep(0.002)
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await response.write(b"data: " + json.dumps({**head, "choices": [last]}).encode() + b"\n\n")
        await response.write(b"data: " + json.dumps({**head, "choices": [], "usage": usage}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        self.answered[number] += 1
        return response


class Load:
    """Clients that call without a pause, each call with a number of its own, and keep which they saw the end of."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.seen: set[int] = set()
        self.over = threading.Event()
        self.numbers = iter(range(1, 1_000_000))
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._call, args=(index,)) for index in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def go_on(self, calls: int) -> None:
        """Wait until so many more calls have been answered."""
        had = len(self.seen)
        end = time.monotonic() + _PATIENCE
        while len(self.seen) < had + calls:
            assert time.monotonic() < end, f"no call was answered within {_PATIENCE:g} s after a kill"
            time.sleep(0.005)

    def _call(self, index: int) -> None:
        while not self.over.is_set():
            with self.lock:
                number = next(self.numbers)
            stream = (index + number) % 2 == 0
            try:
                status, content = ask(self.session, say(seed=number, stream=stream))
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if status == 200 and (b"[DONE]" in content if stream else json.loads(content)):
                self.seen.add(number)


@contextlib.contextmanager
def counting() -> Iterator[tuple[Counting, str]]:
    """Serve an endpoint that counts; gives it and its base URL."""
    counter = Counting()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", counter.answer)
    with serving(app) as url:
        yield counter, f"{url}/v1"


def require_exact(read: CallsRead, counter: Counting, load: Load, kills: int) -> None:
    """Check that each call the endpoint began has one line, and each that a client saw whole its exact usage."""
    lines = Counter(call.parameters.get("seed") for call in read.calls)
    by_number = {call.parameters.get("seed"): call for call in read.calls}
    assert max(Counter(call.n for call in read.calls).values()) == 1
    assert {number: lines[number] for number in counter.began} == dict.fromkeys(counter.began, 1)
    assert max(lines.values()) == 1
    for number in load.seen:
        call = by_number[number]
        assert (call.usage_source, call.tokens_in, call.tokens_out) == ("provider", 1000 + number, number % 7)
    assert {by_number[number].usage_source for number in counter.began} <= {"provider", "partial", "unknown"}
    assert len(read.problems) <= kills
