"""What containers reserve that are on no ticket, like those of runners that have died: the engine alone knows of them."""

from __future__ import annotations

import contextlib
import threading
import time

from runner.engine.admission import Room, reserved
from runner.engine.protocol import ContainerState, Engine
from runner.errors import EngineError
from runner.names import LABEL_KIND

_FRESH_SECONDS = 5.0
"""Seconds for which what the engine said is believed."""


class Unlisted:
    """Measures what running containers reserve that are on no ticket; the engine is asked every few seconds only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._asked = -_FRESH_SECONDS
        self._states: list[ContainerState] = []

    def forget(self) -> None:
        """Have the engine be asked at the next call."""
        with self._lock:
            self._asked = -_FRESH_SECONDS

    def __call__(self, keys: tuple[str, ...]) -> Room:
        """Add up what those containers reserve whose names are not among the keys."""
        with self._lock:
            if time.monotonic() - self._asked >= _FRESH_SECONDS:
                with contextlib.suppress(EngineError):
                    # Only those are remembered: one that was on a ticket has ended when it is on none any more.
                    found = self._engine.observer.find({LABEL_KIND: None})
                    self._states = [state for state in found if state.name not in keys]
                self._asked = time.monotonic()
            return reserved(state for state in self._states if state.name not in keys)
