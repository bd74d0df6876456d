"""Model calls as they stand in a calls file, and a clock that jumps to whatever is waited for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from runner.gateway.calls import Call

T = TypeVar("T")

_ANSWERED: dict[str, Any] = {
    "time": "2026-01-02T03:04:05.678Z",
    "run": "demo-r1-0123456789",
    "step": "one",
    "index": 1,
    "attempt": 1,
    "n": 1,
    "provider": "openai",
    "format": "openai-chat",
    "path": "/v1/chat/completions",
    "method": "POST",
    "stream": False,
    "model_asked": "m",
    "model_sent": "m",
    "model_used": "m-1",
    "parameters": {},
    "pinned": {},
    "status": 200,
    "error": None,
    "fault": None,
    "tokens_in": 10,
    "tokens_out": 4,
    "tokens_cached": 0,
    "tokens_cache_written": 0,
    "tokens_reasoning": 0,
    "usage_source": "provider",
    "waited_seconds": 0.0,
    "retries": 0,
    "statuses": (),
    "latency_first_byte_seconds": 0.5,
    "latency_seconds": 1.5,
    "request_bytes": 100,
    "response_bytes": 200,
    "request_sha256": None,
    "response_sha256": None,
    "bodies": "off",
    "exceeded": "",
    "cost_usd": 0.25,
    "cost_reason": "",
    "finish_reason": "stop",
    "client_gone": False,
}


def make_call(**changes: Any) -> Call:
    """Return a call; by default an answered one of 10 tokens in, 4 out and $0.25 that took 1.5 s."""
    return Call(**{**_ANSWERED, **changes})


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: it moves its loop's clock instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "everybody waits, and nothing will ever happen"
            self.now += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def run_timeless(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop whose clock starts at 0 and jumps over every wait: hours take no time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
