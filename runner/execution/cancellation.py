"""Stop work from outside: one switch, and the things that have to be told when it is thrown."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

BY_USER = "stopped by the user"
"""Reason of what is cancelled, if nothing else is said."""


class Cancellation:
    """A switch that is thrown at most once; safe in a signal handler's thread and in any other.

    Callbacks registered with `told` run in their own threads, so that one slow engine call delays no other.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._why = ""

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    @property
    def why(self) -> str:
        """Return by what it was thrown, as the reason of what is cancelled; empty if it was not."""
        return self._why if self._event.is_set() else ""

    def cancel(self, why: str = BY_USER) -> None:
        """Throw the switch and tell everyone registered; a second call does nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self._why = why
            self._event.set()
            callbacks = tuple(self._callbacks.values())
        for callback in callbacks:
            threading.Thread(target=callback, name="cancel", daemon=True).start()

    @contextlib.contextmanager
    def child(self) -> Iterator[Cancellation]:
        """Yield a switch of its own, which is thrown with this one as well."""
        one = Cancellation()
        with self.told(lambda: one.cancel(self.why)):
            yield one

    @contextlib.contextmanager
    def told(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` called if the switch is thrown inside the block; at once if it already was."""
        with self._lock:
            number = self._next
            self._next += 1
            self._callbacks[number] = callback
            already = self._event.is_set()
        try:
            if already:
                callback()
            yield
        finally:
            with self._lock:
                del self._callbacks[number]
