"""What containers reserve that are on no ticket, like those of runners that have died: the engine alone knows of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection

from runner.engine.admission import Room, reserved
from runner.engine.protocol import ContainerState, Engine
from runner.errors import EngineError
from runner.names import LABEL_KIND

_FRESH_SECONDS = 5.0
"""Seconds for which what the engine said is believed."""


class Unlisted:
    """Measures what running containers reserve that are on no ticket; the engine is asked every few seconds only.

    Asking and adding up are apart: an engine may take long to answer, and who adds up may hold a lock of all users.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._asked = -_FRESH_SECONDS
        self._states: tuple[ContainerState, ...] = ()

    def refresh(self, listed: Callable[[], Collection[str]], *, anew: bool = False) -> None:
        """Ask the engine, unless what it said is fresh; if it fails, what it said before is believed for longer.

        Args:
            listed: returns the names of containers that are on tickets.
            anew: ask it however fresh that is.
        """
        with self._lock:
            if not anew and time.monotonic() - self._asked < _FRESH_SECONDS:
                return
            before = listed()
            with contextlib.suppress(EngineError):
                found = self._engine.observer.find({LABEL_KIND: None})
                # Only those are remembered: one that was on a ticket has ended when it is on none any more. It may have
                # come onto one, or have ended, while the engine was asked.
                known = {*before, *listed()}
                self._states = tuple(state for state in found if state.name not in known)
            self._asked = time.monotonic()

    def __call__(self, keys: Collection[str]) -> Room:
        """Add up what those containers reserve whose names are not among the keys; nobody is asked or waited for."""
        return reserved(state for state in self._states if state.name not in keys)
