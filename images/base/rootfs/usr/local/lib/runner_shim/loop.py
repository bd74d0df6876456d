"""Wait for many file descriptors at once."""

from __future__ import annotations

import select

TYPING = False  # type checkers take it for true; importing typing costs as much as the interpreter's start
if TYPING:
    from collections.abc import Callable


class Loop:
    """Holds what is polled: one handler per file descriptor."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.handlers: dict[int, Callable[[], object]] = {}

    def watch(self, fd: int, events: int, handler: Callable[[], object]) -> None:
        """Call `handler` on these events; without events forget the descriptor, as a hang-up is reported unasked."""
        if events:
            self.poll.register(fd, events)
            self.handlers[fd] = handler
        elif self.handlers.pop(fd, None):
            self.poll.unregister(fd)

    def turn(self, seconds: float) -> None:
        """Wait up to `seconds` for events and handle them."""
        for fd, _events in self.poll.poll(max(0.0, seconds) * 1000):
            handler = self.handlers.get(fd)
            if handler:
                handler()
