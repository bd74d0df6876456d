"""Calls under way, in a journal, so that a gateway that is killed in the middle of one leaves its trace.

A line says that a provider is about to be asked, another holds the bodies of a call that stands in the calls file and
of which no files have been made yet, a third says that nothing is left to do. The journal lies beside
the session's folder, which the container sees, not in it; nothing is synced, because the machine's end ends the run too.
It is one file that stays open: a file made, renamed or deleted for every call would cost more than all else about it.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runner.gateway.bodies import FOLDER, Packed, put
from runner.gateway.calls import Call, append_call, read_calls
from runner.gateway.session import Session, SessionSpec

SUFFIX = ".pending"
"""A session's folder of pending calls is named after the session's, with this behind it."""
_SESSION = "session"
_JOURNAL = "calls"
_CLOSED = -1
_LONGEST = 1 << 20
"""Bytes after which a journal in which no call is under way begins anew."""
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
    """Holds the folder with the journal of calls under way.

    Args:
        folder: `<session's folder>.pending`; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        journal = folder / _JOURNAL
        self._fd = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._open: set[int] = set()
        # Where a process died in the middle of a line, the next one is not glued to it.
        self._size = journal.read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._fd, self._size)

    def begin(self, n: int, facts: Mapping[str, Any]) -> None:
        """Note that a provider may be working on a call from now on.

        Args:
            n: number of the call within its attempt.
            facts: what is known of it, by the names of `Call`, as JSON has it.

        Raises:
            OSError: if it cannot be written.
        """
        line = json.dumps({"n": n, "began": time.time(), "facts": facts}).encode() + b"\n"
        self._write(line)
        self._open.add(n)

    def keep(self, n: int, bodies: Sequence[Packed]) -> None:
        """Note the bodies of a call that is about to get its line, until there are files of them.

        Raises:
            OSError: if they cannot be written.
        """
        packed = {body.sha256: base64.b64encode(body.content).decode() for body in bodies if body.content is not None}
        if packed:
            self._write(json.dumps({"n": n, "bodies": packed}).encode() + b"\n")
            self._open.add(n)

    def end(self, n: int) -> None:
        """Note that nothing is left to do of a call, or that no provider was asked; doing it again does nothing."""
        if n not in self._open:
            return
        self._open.remove(n)
        # A full disk does no harm: after a crash the call is looked for in the calls file, and found there.
        with contextlib.suppress(OSError):
            self._write(b'{"n":%d}\n' % n)
            if self._size > _LONGEST and not self._open:
                self._begin_anew()

    def close(self) -> None:
        """Let go of the journal; nothing can be noted afterwards."""
        if self._fd != _CLOSED:
            os.close(self._fd)
            self._fd = _CLOSED

    def left(self) -> list[Left]:
        """Return the calls that nobody ended, in the order of their numbers.

        A line that was cut short is of no such call: its provider would have been asked only after it was whole.
        """
        return _under_way(self._noted())

    def recover(self, spec: SessionSpec, calls_file: Path) -> list[Call]:
        """Give each call that a dead process left its line in the calls file, unless it has one, and forget them.

        Calls that have one get the files of their bodies.

        Args:
            spec: the session the calls belong to.
            calls_file: where the lines go; a last line that was cut short is ended first, so that none is glued to it.

        Returns:
            The calls that were added. Their latency lasts until now, when they were found.

        Raises:
            OSError: if they cannot be written; they are still pending then.
        """
        noted = self._noted()
        if not noted:
            return []
        _end_last_line(calls_file)
        known = {call.n for call in read_calls(calls_file).calls if belongs(call, spec)}
        added = [_call(one, spec) for one in _under_way(noted) if one.n not in known]
        for call in added:
            append_call(calls_file, call)
        for n in known & noted.keys():
            for line in noted[n]:
                _keep(line.get("bodies"), calls_file.parent / FOLDER)
        self._begin_anew()
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

    def _noted(self) -> dict[int, list[Mapping[str, Any]]]:
        """Return the lines of each call that nobody ended, in the order of the calls' numbers."""
        found: dict[int, list[Mapping[str, Any]]] = {}
        for line in (self.folder / _JOURNAL).read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                noted = json.loads(line)
                n = int(noted["n"])
                if noted.keys() == {"n"}:
                    found.pop(n, None)
                else:
                    found.setdefault(n, []).append(noted)
        return dict(sorted(found.items()))

    def _write(self, line: bytes) -> None:
        written = os.write(self._fd, line)
        if written != len(line):
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))
        self._size += written

    def _begin_anew(self) -> None:
        os.ftruncate(self._fd, 0)
        self._size = 0


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
    pending = Pending(folder / f"{one.session.id}{SUFFIX}")
    try:
        return pending.recover(one.spec, one.spec.calls_file)
    finally:
        pending.close()


def remembered(folder: Path) -> Iterator[Remembered]:
    """Yield the sessions that a gateway's folder tells of, in the order of their ids."""
    for place in sorted(folder.glob(f"*{SUFFIX}")):
        with contextlib.suppress(OSError, ValidationError):
            yield _REMEMBERED.validate_json((place / _SESSION).read_bytes())


def belongs(call: Call, spec: SessionSpec) -> bool:
    """Tell whether a call was made in this session: in this attempt of this step."""
    return (call.run, call.step, call.attempt) == (spec.run, spec.step, spec.attempt)


def _under_way(noted: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[Left]:
    """Return the calls of which it was noted that they began."""
    return [_left(n, lines[0]) for n, lines in noted.items() if "began" in lines[0]]


def _left(n: int, noted: Mapping[str, Any]) -> Left:
    facts, began = noted.get("facts"), noted["began"]
    known = isinstance(began, (int, float))
    return Left(n=n, facts=facts if isinstance(facts, dict) else {}, began=began if known else time.time())


def _keep(bodies: Any, folder: Path) -> None:
    """Make files of bodies that a journal holds."""
    for sha256, content in bodies.items() if isinstance(bodies, dict) else ():
        with contextlib.suppress(ValueError):
            put(folder, Packed(sha256=sha256, content=base64.b64decode(content)))


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
