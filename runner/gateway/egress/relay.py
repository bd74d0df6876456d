"""Pass bytes both ways between two connections: bounded, each direction ending on its own, for as long as they move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from runner.gateway.egress.upstream import Ends

CHUNK = 1 << 16
LINGER_SECONDS = 30.0
"""How long one side may be silent once the other has finished."""


@dataclass(kw_only=True)
class Flow:
    """What has passed so far."""

    up: int = 0
    """Bytes from the step."""
    down: int = 0
    """Bytes to the step."""
    moved: float = field(default_factory=monotonic)
    """When something last moved."""

    def count(self, size: int, *, upwards: bool) -> None:
        """Note bytes that have been handed on."""
        if upwards:
            self.up += size
        else:
            self.down += size
        self.moved = monotonic()


Opening = Callable[[], Awaitable[bool]]
"""Hands on the beginning of the host's answer; tells whether there was one."""


async def relay(
    step: Ends, host: Ends, flow: Flow, *, idle_seconds: float, opening: Opening | None = None
) -> Literal["done", "idle", "broken"]:
    """Pass bytes until both sides have finished, one breaks off, or nothing moves.

    Args:
        step: the connection from the step.
        host: the one to the host.
        flow: counts what passes.
        idle_seconds: how long nothing may move.
        opening: what comes before the host's bytes; with one, all is over when the host has finished.
    """
    up = asyncio.create_task(_copy(step.reader, host.writer, flow, upwards=True))
    down = asyncio.create_task(_down(step, host, flow, opening))
    try:
        while True:
            going = {task for task in (up, down) if not task.done()}
            answered = down.done() and down.result()
            broken = any(task.done() and not task.result() for task in (up, down))
            if answered and (broken or up.done() or opening is not None):
                return "done"  # who has heard all may go before having said all
            if down.done() and not answered:
                return "broken"
            if broken and opening is None:
                return "broken"
            limit = min(idle_seconds, LINGER_SECONDS) if answered else idle_seconds
            left = limit - (monotonic() - flow.moved)
            if left <= 0:
                return "done" if answered else "idle"
            await asyncio.wait(going, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.wait((up, down))


async def _down(step: Ends, host: Ends, flow: Flow, opening: Opening | None) -> bool:
    if opening is not None and not await opening():
        return False
    return await _copy(host.reader, step.writer, flow, upwards=False)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, flow: Flow, *, upwards: bool) -> bool:
    """Hand on bytes as fast as they are taken; tell whether the source came to its end and the target heard of it."""
    try:
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()
            flow.count(len(chunk), upwards=upwards)
        if target.can_write_eof():
            target.write_eof()
    except OSError:
        return False
    return True
