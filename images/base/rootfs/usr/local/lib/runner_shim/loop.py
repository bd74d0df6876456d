"""Wait for many file descriptors at once."""

from __future__ import annotations

import select
import time

TYPING = False  # type checkers take it for true; importing typing costs as much as the interpreter's start
if TYPING:
    from collections.abc import Callable


class Loop:
    """Holds what is polled: one handler per file descriptor, and what is to be called later."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.handlers: dict[int, Callable[[], object]] = {}
        self.later: list[tuple[float, Callable[[], object]]] = []
        """Moments of the monotonic clock, and what is called then."""

    def watch(self, fd: int, events: int, handler: Callable[[], object]) -> None:
        """Call `handler` on these events; without events forget the descriptor, as a hang-up is reported unasked."""
        if events:
            self.poll.register(fd, events)
            self.handlers[fd] = handler
        elif self.handlers.pop(fd, None):
            self.poll.unregister(fd)

    def turn(self, seconds: float) -> None:
        """Wait up to `seconds` for events and handle them; call what is due."""
        if self.later:
            seconds = min(seconds, min(moment for moment, _ in self.later) - time.monotonic())
        for fd, _events in self.poll.poll(max(0.0, seconds) * 1000):
            handler = self.handlers.get(fd)
            if handler:
                handler()
        if self.later:
            now = time.monotonic()
            due = [call for moment, call in self.later if moment <= now]
            self.later = [(moment, call) for moment, call in self.later if moment > now]
            for call in due:
                call()

    def call(self, seconds: float, handler: Callable[[], object]) -> None:
        """Call `handler` once, in `seconds`."""
        self.later.append((time.monotonic() + seconds, handler))
