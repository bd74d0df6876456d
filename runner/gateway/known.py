"""A session as the runner knows it: enough to open it again in another process, and to add it up without one."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from runner.gateway.calls import Call, read_calls, totals
from runner.gateway.pending import SUFFIX, Pending, belongs
from runner.gateway.session import GatewayError, Listen, MeteredSink, Session, SessionSpec, Totals, adapter
from runner.gateway.settings import Spent
from runner.spec.model import Budget


@dataclass(frozen=True, kw_only=True)
class Known:
    """An open session, and whom to tell of its calls."""

    spec: SessionSpec
    session: Session
    on_call: MeteredSink
    listen: Listen | None = None
    before: Spent = field(default_factory=Spent)
    """What its attempt had used up when we came to know it: whoever started us had counted that already."""
    told: threading.Event = field(default_factory=threading.Event)
    """Set once everything the process had to say about the session has been heard."""

    def recover(self, folder: Path) -> None:
        """Give calls that a dead process left in the gateway's folder their lines.

        Raises:
            OSError: if they cannot be written.
        """
        pending = Pending(folder / f"{self.session.id}{SUFFIX}")
        try:
            pending.recover(self.spec, self.spec.calls_file)
        finally:
            pending.close()


Key = tuple[Path, str, str, int]
"""What a session is taken up again by: its calls file, run, step and attempt."""


def key_of(spec: SessionSpec) -> Key:
    """Return what a session is taken up again by."""
    return spec.calls_file.resolve(), spec.run, spec.step, spec.attempt


def opening(spec: SessionSpec, listen: Listen | None, session: Session | None = None) -> bytes:
    """Return the request to open a session, or with `session` to open it again as it was."""
    if listen is not None and session is not None and session.port is not None:
        listen = dataclasses.replace(listen, port=session.port)
    parts = {
        "spec": adapter(SessionSpec).dump_python(spec, mode="json"),
        "session": None if session is None else adapter(Session).dump_python(session, mode="json"),
        "listen": None if listen is None else adapter(Listen).dump_python(listen, mode="json"),
    }
    return json.dumps(parts).encode()


def absolute(spec: SessionSpec) -> SessionSpec:
    """Return the description with paths that hold in the process's folder too."""
    names = ("answers", "calls_file", "packages_folder", "recording")
    found = {name: path.absolute() for name in names if (path := getattr(spec, name)) is not None}
    return dataclasses.replace(spec, **found)


def recorded(spec: SessionSpec, error: GatewayError) -> Totals:
    """Return the totals of what stands in the calls file, with why there can be no more as the last error."""
    why = f": {error.why.splitlines()[-1]}" if error.why else ""
    return dataclasses.replace(totals(_calls_of(spec)), last_error=f"{error.what}{why}", last_error_fault="runner")


def spent_in(spec: SessionSpec, budget: Budget) -> Spent:
    """Return what a session's attempt has used up by its calls file; nothing if no budget asks for it."""
    if not budget.model_dump(exclude_none=True):
        return Spent()
    from runner.gateway.budgets import spent_by

    return spent_by(_calls_of(spec))


def spent_since(one: Known, budget: Budget) -> Spent:
    """Return what a session has used up since we came to know it."""
    now, before = spent_in(one.spec, budget), one.before
    return Spent(
        tokens=max(0, now.tokens - before.tokens),
        calls=max(0, now.calls - before.calls),
        dollars=max(0.0, now.dollars - before.dollars),
        call_time=max(0.0, now.call_time - before.call_time),
    )


def added(parts: Iterable[Spent]) -> Spent:
    """Add up what has been spent."""
    every = list(parts)
    return Spent(
        tokens=sum(part.tokens for part in every),
        calls=sum(part.calls for part in every),
        dollars=sum((part.dollars for part in every), 0.0),
        call_time=sum((part.call_time for part in every), 0.0),
    )


def _calls_of(spec: SessionSpec) -> list[Call]:
    return [call for call in read_calls(spec.calls_file).calls if belongs(call, spec)]
