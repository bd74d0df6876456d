"""How a provider is treated: places, rates, retries, and a pause when it fails; shared by all runs of one gateway.

A call waits in order of arrival until there is a place, both rates allow it and the provider is not paused. It keeps its
place until its answer has been passed on, gives it up while it waits to try again, and then goes before all that arrived
after it. Only tries of which the framework has seen nothing are repeated. (A library of retries would do the loop alone:
what makes it ours is that calls give way to one another in between.)

Waits grow by "exponential backoff and full jitter": uniform between 0 and the least of `longest_backoff` and
`backoff` times two to the number of retries before.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from runner.gateway.pause import Pause
from runner.gateway.providers.protocol import Ask, Provider, Refused, Reply
from runner.gateway.retries import buffered, may_retry, retry_after, status_of
from runner.spec.model import Traffic

_MINUTE = 60.0
_OURS = frozenset({"scripted", "replay"})
"""Providers that are no one's to be kind to, and whose errors are the answer."""
_RATE_LIMITED = 429


@dataclass(kw_only=True)
class Tries:
    """What one call went through until it was answered."""

    waited: float = 0.0
    """Seconds from its arrival until the try began whose answer the framework gets."""
    begun: int = 0
    """Tries begun."""
    statuses: list[int] = field(default_factory=list)
    """HTTP status of each try that failed and could be repeated; 0 for one without an answer."""

    @property
    def retries(self) -> int:
        """Further tries after the first."""
        return max(0, self.begun - 1)


@dataclass(kw_only=True, order=True)
class _Turn:
    """A call's place in the queue."""

    number: int
    started: float = field(compare=False)
    tries: Tries = field(compare=False)
    called: asyncio.Event = field(compare=False, default_factory=asyncio.Event)
    probes: bool = field(compare=False, default=False)
    """Whether it is the one that tries whether the provider is back."""


class _Window:
    """What has been used within the last minute, of so much in any minute; None: not limited."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._used: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, now: float, amount: int) -> None:
        if self._limit is not None:
            self._used.append((now, amount))
            self._sum += amount

    def wait(self, now: float) -> float:
        """Return in how many seconds there is something left."""
        while self._used and self._used[0][0] + _MINUTE <= now:
            self._sum -= self._used.popleft()[1]
        if self._limit is None or self._sum < self._limit:
            return 0.0
        rest = self._sum
        for then, amount in self._used:
            rest -= amount
            if rest < self._limit:
                return then + _MINUTE - now
        return 0.0


class Lane:
    """The way to one provider; holds who waits and what has been used. For one event loop, whose clock it goes by.

    Args:
        traffic: how the provider is to be treated.
        jitter: source of chance for the waits between tries.
    """

    def __init__(self, traffic: Traffic, jitter: random.Random | None = None) -> None:
        self._traffic = traffic
        self._jitter = jitter or random.Random()  # noqa: S311  spreads waits, guards nothing
        self._numbers = itertools.count()
        self._queue: list[_Turn] = []
        self._under_way = 0
        self._requests = _Window(traffic.requests_per_minute)
        self._tokens = _Window(traffic.tokens_per_minute)
        self._held_until = -math.inf
        """When the provider wants to be asked again."""
        self._pause = Pause(after=traffic.pause_after, seconds=traffic.pause)

    @contextlib.asynccontextmanager
    async def answered(self, provider: Provider, ask: Ask, tries: Tries) -> AsyncIterator[Reply]:
        """Have a call answered, and hold its place while the block passes the answer on.

        Args:
            provider: who answers.
            ask: the call.
            tries: is filled in as the call goes on, so that it is true whenever the block ends or an error leaves it.

        Yields:
            The answer, or the provider's last error reply as it was.

        Raises:
            Refused: if there is no answer and no reply, or the call has waited as long as patience lasts.
        """
        if provider.name in _OURS:
            tries.begun = 1
            yield await provider.answer(ask)
            return
        turn = _Turn(number=next(self._numbers), started=_now(), tries=tries)
        while True:
            await self._enter(turn)
            try:
                found = await self._try(provider, ask, turn)
                wait = self._wait_after(found, turn)
                if wait is None:
                    if isinstance(found, Refused):
                        raise found
                    yield found
                    return
            finally:
                self._leave(turn)
            await asyncio.sleep(wait)

    def used(self, tokens: int) -> None:
        """Count tokens that a call has used, in and out together."""
        self._tokens.add(_now(), tokens)

    async def _enter(self, turn: _Turn) -> None:
        """Wait for the call's turn, and take a place.

        Raises:
            Refused: if patience ends first.
        """
        if self._queue or self._blocked() > 0:
            await self._queued(turn)
        now = _now()
        self._under_way += 1
        self._requests.add(now, 1)
        turn.probes = self._pause.begin(now)
        turn.tries.begun += 1
        turn.tries.waited = now - turn.started

    async def _queued(self, turn: _Turn) -> None:
        heapq.heappush(self._queue, turn)
        try:
            async with asyncio.timeout_at(turn.started + self._traffic.patience):
                while not (self._queue[0] is turn and self._blocked() <= 0):
                    turn.called.clear()
                    seconds = self._blocked() if self._queue[0] is turn else math.inf
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                            await turn.called.wait()
        except TimeoutError:
            turn.tries.waited = _now() - turn.started
            raise self._impatient(turn) from None
        finally:
            self._queue.remove(turn)
            heapq.heapify(self._queue)
            self._call_next()

    def _leave(self, turn: _Turn) -> None:
        self._under_way -= 1
        if turn.probes:
            turn.probes = False
            self._pause.give_up_probe()
        self._call_next()

    def _call_next(self) -> None:
        """Let the first of the queue look again."""
        if self._queue:
            self._queue[0].called.set()

    def _blocked(self) -> float:
        """Return how long the first of the queue has to wait, as far as is known: 0, seconds, or infinity."""
        limit, now = self._traffic.concurrency, _now()
        if limit is not None and self._under_way >= limit:
            return math.inf
        return max(self._requests.wait(now), self._tokens.wait(now), self._held_until - now, self._pause.wait(now), 0.0)

    async def _try(self, provider: Provider, ask: Ask, turn: _Turn) -> Reply | Refused:
        """Ask once; an error reply comes back with its whole body read, so that its connection is free."""
        found: Reply | Refused
        try:
            found = await provider.answer(ask)
            if may_retry(found):
                found = await buffered(found)
        except Refused as refused:
            found = refused
        if may_retry(found):
            turn.tries.statuses.append(status_of(found))
            self._pause.failed(_now(), status_of(found), probe=turn.probes)
            turn.probes = False
        elif isinstance(found, Reply):
            self._pause.answered()
            turn.probes = False
            self._call_next()
        return found

    def _wait_after(self, found: Reply | Refused, turn: _Turn) -> float | None:
        """Return how long to wait before the next try; None if there is to be none."""
        if not may_retry(found) or turn.tries.begun > self._traffic.retries:
            return None
        now, longest = _now(), self._traffic.longest_backoff
        # Far below the largest float, and far beyond any longest wait.
        step = self._traffic.backoff * 2.0 ** min(turn.tries.retries, 60)
        wait = self._jitter.uniform(0.0, min(longest, step))
        after = retry_after(found, time.time())
        if after is not None:
            wait = max(wait, after)
            if status_of(found) == _RATE_LIMITED:
                # The limit is everybody's; but a word of hours is believed for the call itself only.
                self._held_until = max(self._held_until, now + min(after, longest))
        return wait if now + wait - turn.started <= self._traffic.patience else None

    def _impatient(self, turn: _Turn) -> Refused:
        waited = f"waited {turn.tries.waited:.0f} s for the provider (model.traffic.patience)"
        why = self._pause.reason or "its limits in model.traffic let no call through"
        return Refused(
            503,
            f"{waited}: {why}",
            kind="server_error",
            fault="provider" if self._pause.reason else "runner",
            code="patience_ended",
            retry=False,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
