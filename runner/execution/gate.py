"""A gate that runs and attempts pass before they begin: shut while something hinders them all, like an engine that is away."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

from runner.engine.protocol import Unanswered
from runner.events import EventSink, Notice
from runner.execution.cancellation import Cancellation

T = TypeVar("T")

LOOK_AGAIN = 1.0
"""Seconds after which those who wait look whether the hindrance is gone."""
_TRIES = 4
"""Of a call that gets no answer although the engine answers in between."""


def _nothing() -> str:
    return ""


@dataclass
class _Seen:
    """What the last look showed, for all who pass the same gate."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    absence: str = ""
    reason: str = ""
    since: float = 0.0
    looked: float = 0.0


class Gate:
    """Lets those pass who come while nothing hinders them; safe in several threads.

    One who waits looks for all: however many wait, the hindrances are asked once per pause, and the user is told once
    that waiting has begun, once for each further reason, and once that it is over.

    Args:
        hindrances: each says why nothing may begin now; empty: it has nothing against it. They are asked in order.
        engine: the same of the engine; besides what begins, it holds back the calls of what has begun.
        pause: seconds between two looks.
    """

    def __init__(
        self,
        hindrances: Sequence[Callable[[], str]] = (),
        *,
        engine: Callable[[], str] = _nothing,
        pause: float = LOOK_AGAIN,
    ) -> None:
        self._hindrances = tuple(hindrances)
        self._engine = engine
        self._pause = pause
        self._seen = _Seen()
        self._resting: Callable[[], AbstractContextManager[None]] = nullcontext

    def beside(self, resting: Callable[[], AbstractContextManager[None]]) -> Gate:
        """Return the same gate for one who does something meanwhile, like stopping a clock: `resting` is entered for it."""
        gate = copy.copy(self)
        gate._resting = resting  # noqa: SLF001  its own
        return gate

    @property
    def reason(self) -> str:
        """Why nothing passes, as of the last look; empty if nothing hinders."""
        return self._seen.reason

    def pass_(self, cancellation: Cancellation, tell: EventSink) -> None:
        """Return when nothing hinders any more, or at once when the user has stopped everything.

        Args:
            cancellation: ends the waiting; whoever passes looks at it again.
            tell: told when waiting begins and ends.
        """
        self._wait(cancellation, tell, lambda: self._seen.reason)

    def reach(self, cancellation: Cancellation, tell: EventSink) -> None:
        """Return when the engine is there, whatever else hinders: for what has begun already; otherwise as `pass_`."""
        self._wait(cancellation, tell, lambda: self._seen.absence)

    def patiently(self, call: Callable[[], T], cancellation: Cancellation, tell: EventSink) -> T:
        """Make a call of the engine that does no harm when repeated, again whenever the engine was away meanwhile.

        Args:
            call: the call.
            cancellation: ends the waiting for the engine.
            tell: told when waiting begins and ends.

        Raises:
            Unanswered: if it gets no answer from an engine that is there, several times, or the user has stopped everything.
        """
        tries = _TRIES
        while True:
            try:
                return call()
            except Unanswered:
                tries -= not self._wait(cancellation, tell, lambda: self._seen.absence)
                if tries <= 0 or cancellation.cancelled:
                    raise

    def _wait(self, cancellation: Cancellation, tell: EventSink, hindered: Callable[[], str]) -> bool:
        """Wait while something hinders; say whether there was anything to wait for."""
        waited = False
        while not cancellation.cancelled:
            with self._seen.lock:
                self._look(tell)
                if not hindered():
                    return waited
            waited, woken = True, threading.Event()
            with cancellation.told(woken.set), self._resting():
                woken.wait(self._pause)
        return waited

    def _look(self, tell: EventSink) -> None:
        """Ask what hinders, unless somebody has asked just now and was told that something does."""
        seen = self._seen
        if seen.reason and time.monotonic() - seen.looked < self._pause / 2:
            return
        seen.absence = self._engine()
        reason = seen.absence or next((why for one in self._hindrances if (why := one())), "")
        before, seen.reason, seen.looked = seen.reason, reason, time.monotonic()
        if reason and not before:
            seen.since = seen.looked
        if reason and reason != before:
            tell(Notice(time=time.time(), text=f"waiting: {reason}", level="warning"))
        elif before and not reason:
            tell(Notice(time=time.time(), text=f"going on after {seen.looked - seen.since:.0f} s"))


def for_a_while(absence: Callable[[], str], seconds: float) -> Callable[[], str]:
    """Return a look at the engine that stops hindering once it has been away for so long.

    Args:
        absence: says why it does not answer, empty if it does.
        seconds: how long it is waited for, each time it goes away.
    """
    away_since: list[float] = []

    def look() -> str:
        reason = absence()
        if not reason:
            away_since.clear()
        elif not away_since:
            away_since.append(time.monotonic())
        return reason if away_since and time.monotonic() - away_since[0] < seconds else ""

    return look
