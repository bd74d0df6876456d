"""The terminal this program runs in, lent to a container: keys go through as they are, and its size follows."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from types import FrameType

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def has_terminal() -> bool:
    """Tell whether both keyboard and screen are a person's."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextlib.contextmanager
def lent(resize: Callable[[os.terminal_size], None]) -> Iterator[None]:
    """Pass every key on unread, Ctrl-C included, and tell each new size, as long as the block lasts.

    Args:
        resize: told the size at once, and whenever the window changes.
    """
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    before = termios.tcgetattr(keyboard)

    def changed(number: int, frame: FrameType | None) -> None:
        del number, frame
        resize(os.get_terminal_size(screen))

    previous = signal.signal(signal.SIGWINCH, changed)
    try:
        # What was typed ahead is not thrown away, as it is by default.
        tty.setraw(keyboard, termios.TCSADRAIN)
        resize(os.get_terminal_size(screen))
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextlib.contextmanager
def tidying() -> Iterator[None]:
    """Let a request to end, or a closed terminal, interrupt the block, so that it removes what it made."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in _ENDINGS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
