"""A run's own log: its events as JSON lines, each on disk as soon as it happened."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.events import Event, OutputLine
from runner.evidence.atomic import storage_error


class RunLog:
    """Listener that appends one run's events to its log file; other runs' events are not kept.

    A line is one JSON object: `time` (UTC, ISO 8601), `event` (name of the event's class) and the event's own fields.
    What steps print is left out, their logs have it. Each line is one write to a file opened for appending, so lines
    of several threads never mix, and after a crash at most the last one is incomplete; the next opening ends it.

    Args:
        path: the log; missing folders are made.
        run: id of the run whose events are kept; by default that of the first event that names one.
    """

    def __init__(self, path: Path, run: str = "") -> None:
        self._path = path
        self._run = run
        self._lock = threading.Lock()
        self._handle: int | None = None
        self.problem = ""
        """Why lines are missing, once writing has failed; a listener must not raise."""

    def __enter__(self) -> Self:
        """Open the log.

        Raises:
            StorageError: if it cannot be opened.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            _end_last_line(self._handle)
        except OSError as error:
            raise storage_error(f"cannot write {self._path}", error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
            if handle is None:
                return
            try:
                os.fsync(handle)
            except OSError as failure:
                self.problem = self.problem or str(failure)
            finally:
                os.close(handle)

    def __call__(self, event: Event) -> None:
        """Append an event, if it is this run's; after the log is closed, nothing happens."""
        if isinstance(event, OutputLine) or not event.run:
            return
        with self._lock:
            self._run = self._run or event.run
            if self._handle is None or event.run != self._run or self.problem:
                return
            try:
                _write(self._handle, _line(event))
            except OSError as error:
                self.problem = str(error)


def _line(event: Event) -> bytes:
    fields = dataclasses.asdict(event)
    del fields["run"]
    milliseconds = int(fields.pop("time") * 1000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    line = {"time": f"{moment}.{milliseconds % 1000:03d}Z", "event": type(event).__name__, **fields}
    # Pure ASCII: control characters and lone surrogates are escaped, so any viewer is safe.
    return json.dumps(line, ensure_ascii=True, default=str).encode("ascii") + b"\n"


def _write(handle: int, data: bytes) -> None:
    """Write everything; a disk that fills up half way through shows as the error of the next write."""
    while data:
        data = data[os.write(handle, data) :]


def _end_last_line(handle: int) -> None:
    """Give a line that a crash cut off its end, so that the next one stands alone."""
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        os.write(handle, b"\n")
