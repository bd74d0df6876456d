"""Slots: how many containers of an experiment run at once, whichever runs they belong to."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from runner.execution.cancellation import Cancellation


class Slots:
    """A number of places, given out in the order in which they are asked for; safe in several threads.

    Nobody holds one while it waits for another step or run, so that they cannot wait for each other.

    Args:
        count: how many there are; None: as many as are asked for.
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count < 1:
            raise ValueError(f"{count} slots: at least one is needed")
        self.count = count
        self._lock = threading.Lock()
        self._taken = 0
        self._expected: set[str] = set()
        """Names of containers that are counted, and that nobody has taken up yet."""
        self._queue: deque[threading.Event] = deque()
        """Those who wait; whoever gives a place back wakes the first of them."""

    @contextmanager
    def one(self, cancellation: Cancellation, *, there: str = "") -> Iterator[Turn]:
        """Hold a slot inside the block, waiting for it as long as that takes.

        Once the user has stopped everything nobody waits any more: the block is entered without a slot, to end at once
        by its own look at the switch.

        Args:
            cancellation: ends the waiting.
            there: name of a container that is there already, and holds what it holds: it is counted without waiting, even
                if that makes more than there are. Nobody else gets a slot then until there are fewer again.
        """
        turn = Turn(self, cancellation)
        turn.take(there=there)
        try:
            yield turn
        finally:
            turn.give_back()

    def _wait(self, cancellation: Cancellation) -> bool:
        """Take a place, waiting for it; False if the switch was thrown first."""
        with self._lock:
            if self.count is None or (self._taken < self.count and not self._queue):
                self._taken += 1
                return True
            mine = threading.Event()
            self._queue.append(mine)
        with cancellation.told(mine.set):
            mine.wait()
        with self._lock:
            if mine not in self._queue:
                return True
            self._queue.remove(mine)
            return False

    def expect(self, names: Collection[str]) -> None:
        """Count containers that are there already before anybody has looked after them, so that nothing new begins first."""
        with self._lock:
            self._taken += len(set(names) - self._expected)
            self._expected |= set(names)

    def expect_no_more(self, which: Callable[[str], bool]) -> None:
        """Count those of them no longer that nobody has taken up, and nobody will; `which` tells by the name."""
        with self._lock:
            gone = set(filter(which, self._expected))
            self._expected -= gone
        for _ in gone:
            self._give_back()

    def _exceed(self, name: str) -> None:
        """Take a place that need not be there, for a container that is; it may have been counted before."""
        with self._lock:
            self._taken += name not in self._expected
            self._expected.discard(name)

    def _is_exceeded(self) -> bool:
        with self._lock:
            return self.count is not None and self._taken > self.count

    def _give_back(self) -> None:
        with self._lock:
            if self._queue and (self.count is None or self._taken <= self.count):
                # The place changes hands without ever being free, so that nobody can jump the queue.
                self._queue.popleft().set()
            else:
                self._taken -= 1


class Turn:
    """One holder's slot; it knows whether it has it. Get one from `Slots.one`."""

    def __init__(self, slots: Slots, cancellation: Cancellation) -> None:
        self._slots = slots
        self._cancellation = cancellation
        self._held = False

    def take(self, *, there: str = "") -> None:
        """Wait for the slot, unless the user has stopped everything; for a container that is there, have it at once."""
        if there:
            self._slots._exceed(there)  # noqa: SLF001  two halves of one thing
        self._held = bool(there) or self._slots._wait(self._cancellation)  # noqa: SLF001  as above

    def settle(self) -> None:
        """Before something new begins in a slot that was had at once: wait until there are no more than there may be."""
        if self._held and self._slots._is_exceeded():  # noqa: SLF001  as above
            self.give_back()
            self.take()

    def give_back(self) -> None:
        """Leave the slot to others; nothing happens if it is not held."""
        if self._held:
            self._held = False
            self._slots._give_back()  # noqa: SLF001  two halves of one thing

    @contextmanager
    def released(self) -> Iterator[None]:
        """Leave the slot to others inside the block, and wait for one after it."""
        self.give_back()
        try:
            yield
        finally:
            self.take()
