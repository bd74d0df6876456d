"""What a `go` tells, kept beside its runs, so that it can be watched from another terminal.

The file holds one JSON object per line: `event` is the name of a class below or in `runner.events`, the rest its fields.
It begins anew with each `go`, and once it has grown, with what is needed to go on watching: it stays about as large
as what is told of the runs under way.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from runner import events
from runner.cli.progress import Kind, Progress, Use, begin
from runner.errors import ExitCode, RunnerError
from runner.events import Event, OutputLine, RunFinished, RunStarted
from runner.evidence.atomic import storage_error
from runner.execution.control import CONTROL
from runner.plan.impossible import Impossible

_LARGE = 4 * 1024**2
"""Bytes from which the file is written anew, unless the runs under way need as much."""
_HISTORY = 20
"""Latest wall times per framework and scenario that are handed on."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A `go` has claimed the folder."""

    pid: int
    experiment: str
    label: str
    """How its model is called."""
    time: float


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Runs that are not possible here, and why."""

    runs: tuple[Impossible, ...] = ()
    images_failed: Mapping[str, str] = field(default_factory=dict)
    """Images that could not be had, and why."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Runs are about to be carried out, or it is told anew how far that is."""

    title: str
    started: float
    jobs: int
    left: tuple[tuple[str, str, int], ...]
    """Framework, scenario, and how many such runs have not begun."""
    seconds: tuple[tuple[str, str, tuple[float, ...]], ...]
    """Framework, scenario, and wall times of such runs."""
    outcomes: Mapping[str, int]
    use: Use
    """By runs that have ended."""
    left_out: LeftOut = LeftOut()
    """What is not carried out."""

    def progress(self) -> Progress:
        """Return it as the live view takes it."""
        kinds = Counter({(framework, scenario): number for framework, scenario, number in self.left})
        history = {(framework, scenario): values for framework, scenario, values in self.seconds}
        known = begin(kinds.elements(), jobs=self.jobs, now=self.started, history=history)
        known.outcomes.update(self.outcomes)
        known.use = self.use
        return known


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The `go` is over."""

    code: int
    digests: tuple[str, ...] = ()
    """Of the runs whose results it showed."""
    error: str = ""
    """Why it ended early."""
    left_out: LeftOut = LeftOut()
    stopped: str = ""
    """Why some runs were not begun; empty if nothing kept them."""


Line = Opened | Planned | Ended | Event
_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(Opened, Planned, Ended),
        *(one for one in vars(events).values() if isinstance(one, type) and issubclass(one, Event)),
    )
}


def journal_path(output: Path) -> Path:
    """Return where the journal of a folder of runs is."""
    return output / CONTROL / "events.jsonl"


class Journal:
    """Listener that writes the journal. A listener must not fail: once writing does, it stays silent.

    Args:
        output: folder of run directories, claimed by this process.
        opened: the first line.
    """

    def __init__(self, output: Path, opened: Opened) -> None:
        self._path = journal_path(output)
        self._opened = opened
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._size = 0
        self._title = ""
        self._left_out = LeftOut()
        self._progress: Progress | None = None
        self._told: dict[str, list[bytes]] = {}
        """Lines about each run that has not ended."""
        self._begun: dict[str, Kind] = {}
        """Those that have begun."""
        self._used = Use()
        """By runs that have ended."""
        self._ended: Ended | None = None

    def __enter__(self) -> Self:
        """Begin the file anew.

        Raises:
            StorageError: if it cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._begin([_line(self._opened)])
        except OSError as error:
            raise storage_error(f"cannot write {self._path}", error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write how it ended, and close the file."""
        ended = self._ended
        if isinstance(error, RunnerError):
            ended = Ended(code=error.exit_code, error=error.what)
        elif error is not None or ended is None:
            ended = Ended(code=ExitCode.INTERRUPTED, error="" if error is None else type(error).__name__)
        with self._lock:
            self._write(_line(ended))
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None

    def plan(self, title: str, progress: Progress, left_out: LeftOut | None = None) -> None:
        """Tell what is about to be carried out, and what is not; `progress` is not touched."""
        with self._lock:
            self._title = title
            self._left_out = left_out or LeftOut()
            self._progress = copy.deepcopy(progress)
            self._write(_line(self._planned(self._progress)))

    def end(self, code: int, digests: tuple[str, ...], left_out: LeftOut | None = None, stopped: str = "") -> None:
        """Remember what the last line is to say."""
        self._ended = Ended(code=code, digests=digests, left_out=left_out or LeftOut(), stopped=stopped)

    def __call__(self, event: Event) -> None:
        """Write an event down; what steps print is left out, `runner logs` shows it."""
        if isinstance(event, OutputLine):
            return
        line = _line(event)
        with self._lock:
            if self._progress is not None and event.run:
                self._told.setdefault(event.run, []).append(line)
                self._fold(self._progress, event)
            self._write(line)
            if self._size > max(_LARGE, 2 * sum(len(one) for lines in self._told.values() for one in lines)):
                self._begin_anew()

    def _fold(self, progress: Progress, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._begun[event.run] = (event.framework, event.scenario)
        if isinstance(event, RunFinished):
            self._told.pop(event.run, None)
            self._begun.pop(event.run, None)
            used = next((slot.use for slot in progress.active if slot.run == event.run), Use())
            self._used = _sum(self._used, used)
        progress.tell(event)

    def _planned(self, progress: Progress) -> Planned:
        """Return what there is to know without the lines about runs that have not ended."""
        left = progress.left + Counter(self._begun.values())
        return Planned(
            title=self._title,
            started=progress.started,
            jobs=progress.jobs,
            left=tuple((*kind, number) for kind, number in left.items()),
            seconds=tuple((*kind, tuple(values[-_HISTORY:])) for kind, values in progress.seconds.items()),
            outcomes=dict(progress.outcomes),
            use=self._used,
            left_out=self._left_out,
        )

    def _begin_anew(self) -> None:
        if self._progress is None:
            return
        lines = [line for told in self._told.values() for line in told]
        with contextlib.suppress(OSError):
            self._begin([_line(self._opened), _line(self._planned(self._progress)), *lines])

    def _begin(self, lines: list[bytes]) -> None:
        """Put a new file in the place of the old one; whoever reads that notices."""
        unnamed = self._path.with_name(f"{self._path.name}.new")
        handle = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        before, self._handle, self._size = self._handle, handle, 0
        if before is not None:
            os.close(before)
        self._write(b"".join(lines))
        unnamed.rename(self._path)

    def _write(self, data: bytes) -> None:
        if self._handle is None:
            return
        try:
            self._size += os.write(self._handle, data)
        except OSError:
            os.close(self._handle)
            self._handle = None


class Reader:
    """Reads a journal while it is written; it holds the file.

    Args:
        output: folder of run directories.
    """

    def __init__(self, output: Path) -> None:
        self._path = journal_path(output)
        self._handle: int | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def read(self) -> list[Line]:
        """Return what was written since the last time; after the file was begun anew, from its beginning.

        Raises:
            StorageError: if it cannot be read.
        """
        try:
            lines = self._new()
            if self._replaced():
                self._open()
                lines += self._new()
        except OSError as error:
            raise storage_error(f"cannot read {self._path}", error) from error
        return [found for line in lines if (found := _parse(line)) is not None]

    def _open(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._handle, self._rest = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC), b""

    def _new(self) -> list[bytes]:
        if self._handle is None:
            return []
        while data := os.read(self._handle, 1 << 20):
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return lines

    def _replaced(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        if self._handle is None:
            return True
        mine = os.fstat(self._handle)
        return (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino)


def _line(value: Line) -> bytes:
    return json.dumps({"event": type(value).__name__, **dataclasses.asdict(value)}).encode() + b"\n"


def _parse(line: bytes) -> Line | None:
    """Return a line's value; None for one that a crash cut short or that another version wrote."""
    try:
        values = json.loads(line)
        kind = _KINDS[values.pop("event")]
        return TypeAdapter[Line](kind).validate_python(values)
    except (ValueError, KeyError, AttributeError, TypeError, ValidationError):
        return None


def _sum(one: Use, other: Use) -> Use:
    return Use(**{field.name: getattr(one, field.name) + getattr(other, field.name) for field in fields(Use)})
