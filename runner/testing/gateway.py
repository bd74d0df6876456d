"""A gateway without a network, whose sessions end with scripted totals."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from runner.gateway.session import Metered, MeteredSink, Session, SessionSpec, Totals, ignore

NO_CALLS = Totals(
    api_calls=0,
    tokens_in=0,
    tokens_out=0,
    tokens_cached=0,
    cost_usd=None,
    failed_calls=0,
    unmetered_calls=0,
    last_error="",
    tokens_reasoning=0,
)
"""Totals of a session in which nothing was asked."""


class FakeGateway:
    """Gateway in memory; see `runner.gateway.session.Gateway`.

    Args:
        root: folder for the sessions' folders.
        totals: gives the totals of a session when it closes; by default nothing was asked. Who listens hears of its
            calls then, all as one.
    """

    def __init__(self, root: Path, totals: Callable[[SessionSpec], Totals] = lambda _: NO_CALLS) -> None:
        self.opened: list[SessionSpec] = []
        """Every session there was, in order."""
        self.open_sessions: dict[str, SessionSpec] = {}
        """Sessions not closed yet, by id."""
        self.forgotten: list[Path] = []
        """Calls files whose sessions nobody wanted to take up again."""
        self.ended = False
        self._root = root
        self._totals = totals
        self._listeners: dict[str, MeteredSink] = {}
        self._lock = threading.Lock()

    def open(self, spec: SessionSpec, on_call: MeteredSink = ignore) -> Session:
        with self._lock:
            number = len(self.opened)
            identity = f"session-{number}"
            self.opened.append(spec)
            self.open_sessions[identity] = spec
            self._listeners[identity] = on_call
        directory = self._root / identity
        directory.mkdir(parents=True)
        token = hashlib.sha256(f"{spec.run} {spec.step} {spec.attempt} {number}".encode()).hexdigest()
        return Session(
            id=identity,
            token=token,
            directory=directory,
            proxy=bool(spec.allow),
            packages=spec.packages is not None,
        )

    def close(self, session: Session) -> Totals:
        with self._lock:
            spec = self.open_sessions.pop(session.id)
            on_call = self._listeners.pop(session.id)
        session.directory.rmdir()
        totals = self._totals(spec)
        if totals.api_calls:
            on_call(
                Metered(
                    session=session.id,
                    tokens_in=totals.tokens_in,
                    tokens_out=totals.tokens_out,
                    cost_usd=totals.cost_usd,
                    error=totals.last_error or None,
                    waited_seconds=totals.waiting_seconds,
                )
            )
        return totals

    def forget(self, calls_file: Path) -> None:
        self.forgotten.append(calls_file)

    def shutdown(self) -> None:
        self.ended = True
        self.open_sessions.clear()
