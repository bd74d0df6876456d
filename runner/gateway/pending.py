"""Calls under way, one small file each, so that a gateway that is killed in the middle of one leaves its trace.

A file has the call's number as its name from before a provider is asked until the call stands in the calls file. It
lies beside the session's folder, which the container sees, not in it; nothing is synced, because the machine's end ends
the run too. Files of calls that ended serve further calls: a file made and deleted for every call makes all others dear
to make on file systems that give an inode free only after some time, such as ext4 without a journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runner.gateway.calls import Call, append_call, read_calls
from runner.gateway.session import Session, SessionSpec

SUFFIX = ".pending"
"""A session's folder of pending calls is named after the session's, with this behind it."""
_SESSION = "session"
ENDED = "the gateway ended in the middle of the call"


@dataclass(frozen=True, kw_only=True)
class Left:
    """A call that was under way when a process died."""

    n: int
    facts: Mapping[str, Any]
    """What was known of it, by the names of `Call`."""
    began: float
    """Seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """A session as it is kept beside its calls."""

    spec: SessionSpec
    session: Session


_REMEMBERED = TypeAdapter(Remembered)


class Pending:
    """Holds the folder with one file per call under way.

    Args:
        folder: `<session's folder>.pending`; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._spare: list[Path] = []
        folder.mkdir(mode=0o700, exist_ok=True)

    def begin(self, n: int, facts: Mapping[str, Any]) -> None:
        """Note that a provider may be working on a call from now on.

        Args:
            n: number of the call within its attempt.
            facts: what is known of it, by the names of `Call`, as JSON has it.

        Raises:
            OSError: if the file cannot be written.
        """
        data = json.dumps(dict(facts)).encode()
        spare = self._spare.pop() if self._spare else self._aside(n)
        fd = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, data) != len(data):
                raise OSError(f"only a part of {spare} could be written")
        finally:
            os.close(fd)
        spare.rename(self._path(n))

    def end(self, n: int) -> None:
        """Note that a call stands in the calls file, or that no provider was asked; doing it again does nothing."""
        with contextlib.suppress(FileNotFoundError):
            self._spare.append(self._path(n).rename(self._aside(n)))

    def left(self) -> list[Left]:
        """Return the calls that nobody ended, in their order.

        A file that was cut short is of no such call: its provider would have been asked only after it was whole.
        """
        files = [path for path in self.folder.iterdir() if path.name.isdecimal()]
        found = [_read(path) for path in sorted(files, key=lambda path: int(path.name))]
        return [left for left in found if left is not None]

    def recover(self, spec: SessionSpec, calls_file: Path) -> list[Call]:
        """Give each call that a dead process left its line in the calls file, unless it has one, and forget them.

        Args:
            spec: the session the calls belong to.
            calls_file: where the lines go; a last line that was cut short is ended first, so that none is glued to it.

        Returns:
            The calls that were added. Their latency lasts until now, when they were found.

        Raises:
            OSError: if they cannot be written; they are still pending then.
        """
        left = self.left()
        if not left:
            return []
        _end_last_line(calls_file)
        known = {call.n for call in read_calls(calls_file).calls if belongs(call, spec)}
        added = [_call(one, spec) for one in left if one.n not in known]
        for call in added:
            append_call(calls_file, call)
        for one in left:
            self.end(one.n)
        return added

    def remember(self, spec: SessionSpec, session: Session) -> None:
        """Keep the session, its token too, beside the calls, for who finds the folder when everybody has died.

        What stands there is whole at any time, and the user's alone to read.

        Raises:
            OSError: if it cannot be written.
        """
        aside = self.folder / f"{_SESSION}.new"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(_REMEMBERED.dump_json(Remembered(spec=spec, session=session)))
        aside.rename(self.folder / _SESSION)

    def _path(self, n: int) -> Path:
        return self.folder / str(n)

    def _aside(self, n: int) -> Path:
        """Return where the file of a call lies that is not under way; no number, so that it is not found."""
        return self.folder / f"aside-{n}"


def recover_folder(folder: Path) -> list[Call]:
    """Recover the calls of every session of a dead gateway's folder whose run directory is still there.

    Raises:
        OSError: if a calls file cannot be written.
    """
    found: list[Call] = []
    for one in remembered(folder):
        found += recover_session(folder, one)
    return found


def recover_session(folder: Path, one: Remembered) -> list[Call]:
    """Recover the calls of one session of a dead gateway's folder, if the run directory is still there.

    Raises:
        OSError: if the calls file cannot be written.
    """
    if not one.spec.calls_file.parent.is_dir():
        return []
    return Pending(folder / f"{one.session.id}{SUFFIX}").recover(one.spec, one.spec.calls_file)


def remembered(folder: Path) -> Iterator[Remembered]:
    """Yield the sessions that a gateway's folder tells of, in the order of their ids."""
    for place in sorted(folder.glob(f"*{SUFFIX}")):
        with contextlib.suppress(OSError, ValidationError):
            yield _REMEMBERED.validate_json((place / _SESSION).read_bytes())


def belongs(call: Call, spec: SessionSpec) -> bool:
    """Tell whether a call was made in this session: in this attempt of this step."""
    return (call.run, call.step, call.attempt) == (spec.run, spec.step, spec.attempt)


def _read(path: Path) -> Left | None:
    began = path.stat().st_mtime
    try:
        facts = json.loads(path.read_bytes())
    except ValueError:
        return None
    return Left(n=int(path.name), facts=facts if isinstance(facts, dict) else {}, began=began)


def _end_last_line(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("r+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


def _call(left: Left, spec: SessionSpec) -> Call:
    """Return the line of a call of which only the beginning is known."""
    known = {name: value for name, value in left.facts.items() if name in Call.model_fields}
    try:
        return Call.model_validate({**_unknown(left, spec), **known, **_certain(left, spec)})
    except ValidationError:
        return Call.model_validate({**_unknown(left, spec), **_certain(left, spec)})


def _unknown(left: Left, spec: SessionSpec) -> dict[str, Any]:
    """Return what stands in a line for facts that were not noted."""
    nothing = dict.fromkeys(("model_asked", "model_sent", "model_used", "finish_reason", "latency_first_byte_seconds"))
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(left.began)) + f".{int(left.began * 1000) % 1000:03d}Z"
    return nothing | {
        "time": stamp,
        "provider": spec.model.provider if spec.model is not None else "",
        "format": "other",
        "path": "",
        "method": "",
        "stream": False,
        "parameters": {},
        "pinned": {},
        "waited_seconds": 0.0,
        "retries": 0,
        "statuses": (),
        "request_bytes": 0,
        "request_sha256": None,
        "bodies": "off",
    }


def _certain(left: Left, spec: SessionSpec) -> dict[str, Any]:
    """Return what holds of every call whose gateway died, whatever was noted."""
    tokens = dict.fromkeys(("in", "out", "cached", "cache_written", "reasoning"))
    return {f"tokens_{name}": value for name, value in tokens.items()} | {
        "run": spec.run,
        "step": spec.step,
        "index": spec.index,
        "attempt": spec.attempt,
        "n": left.n,
        "status": 0,
        "error": ENDED,
        "fault": "runner",
        "usage_source": "unknown",
        "latency_seconds": round(max(0.0, time.time() - left.began), 6),
        "response_bytes": 0,
        "response_sha256": None,
        "exceeded": "",
        "cost_usd": None,
        "cost_reason": ENDED,
        "client_gone": False,
    }
