"""Wait for what comes about at some time, as long as a busy machine may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 200.0
"""Seconds after which what did not come about will not: a program that starts, or an image that is built meanwhile."""
_LOOK_AGAIN = 0.1


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
