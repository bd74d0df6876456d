"""One session while it is open: what its calls share."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field

from pydantic import SecretStr

from runner.gateway.afterwards import Afterwards
from runner.gateway.bodies import Bodies
from runner.gateway.budgets import Purses
from runner.gateway.calls import Call
from runner.gateway.hiding import hide_text
from runner.gateway.pending import Pending
from runner.gateway.prices import Prices
from runner.gateway.providers.protocol import Provider
from runner.gateway.session import MeteredSink, SessionSpec, ignore
from runner.gateway.traffic import Lane

WRITE_SECONDS = 600.0


@dataclass(kw_only=True)
class Served:
    """Holds one session while it is open."""

    id: str
    spec: SessionSpec
    token: str
    provider: Provider | None
    """None for a session without a model."""
    lane: Lane
    purses: Purses
    prices: Prices
    bodies: Bodies
    pending: Pending
    key: SecretStr | None = None
    on_call: MeteredSink = ignore
    write_seconds: float = WRITE_SECONDS
    """How long a client may take to read what is ready for it, before it counts as gone."""
    calls: list[Call] = field(default_factory=list)
    """Recorded calls, in the order they ended."""
    requests: int = 0
    held: int = 0
    """Bytes of requests under way."""
    turns: int = 0
    """Calls that took a turn of the provider's answers."""
    given_back: list[int] = field(default_factory=list)
    """Turns that were refused, and are the next to be taken."""
    tasks: set[asyncio.Task[object]] = field(default_factory=set)
    afterwards: Afterwards = field(init=False)

    def __post_init__(self) -> None:
        self.afterwards = Afterwards(self.spec.calls_file, self.bodies, self.pending)

    def take_turn(self) -> int:
        """Return the number of the next answer, from 1."""
        if self.given_back:
            return heapq.heappop(self.given_back)
        self.turns += 1
        return self.turns

    def give_turn_back(self, n: int) -> None:
        """Note that a call took none of the provider's answers after all."""
        heapq.heappush(self.given_back, n)

    def hide(self, words: str) -> str:
        """Take the key out of a text."""
        return hide_text(words, self.key)


def answered(call: Call) -> bool:
    """Tell whether a recorded call took one of the provider's answers, which it does not get again after a restart."""
    return call.error is None or (call.provider == "replay" and call.fault != "runner")
