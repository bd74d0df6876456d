"""Wait for what comes about at some time, as long as a busy machine may take, and do something beside."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 200.0
"""Seconds after which what did not come about will not: a program that starts, or an image that is built meanwhile."""
_LOOK_AGAIN = 0.05


def until(look: Callable[[], T], otherwise: str, seconds: float = PATIENCE) -> T:
    """Look again and again until there is something to see, and return it.

    Args:
        look: returns what is true once it has come about.
        otherwise: what the test fails with if it never is.
        seconds: how long to wait.
    """
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, otherwise
        time.sleep(_LOOK_AGAIN)
    return found


@contextlib.contextmanager
def beside(deed: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread while the block lasts, and wait for its end."""
    thread = threading.Thread(target=deed, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextlib.contextmanager
def looking(look: Callable[[], object], pause: float = _LOOK_AGAIN) -> Iterator[None]:
    """Look again and again, in another thread, for as long as the block lasts.

    Args:
        look: what to do, at the beginning and after each pause; it raises nothing.
        pause: seconds between two looks.
    """
    over = threading.Event()

    def again() -> None:
        look()
        while not over.wait(pause):
            look()

    with contextlib.ExitStack() as stack:
        stack.enter_context(beside(again))
        stack.callback(over.set)
        yield
