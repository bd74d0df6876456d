"""Steer the runner at work from elsewhere: requests, and a pause, are files beside the runs that it looks at.

<output>/.control/
├── paused                       nothing new begins while it is there
└── cancel/<framework>/<run>     this run is to be stopped; gone when it has ended, or is not at work and will not be
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from runner.errors import StorageError
from runner.evidence.atomic import storage_error, write_json
from runner.execution.cancellation import Cancellation
from runner.plan.models import Run

CONTROL = ".control"
"""Name of the folder in the folder of runs."""
_LOOK_AGAIN = 0.5
"""Seconds between two looks at the requests."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Somebody's wish that nothing new begins."""

    by: str
    """Name of the user."""
    since: str
    """UTC, ISO 8601."""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.by} has paused this folder at {self.since}{f': {self.reason}' if self.reason else ''}"


def pause(output: Path, wish: Pause) -> Pause | None:
    """Let nothing new begin in a folder of runs, now and after a restart; return the pause that was there before.

    Raises:
        StorageError: if it cannot be written.
    """
    before = paused(output)
    if before is None:
        _make(output / CONTROL)
        write_json(output / CONTROL / "paused", asdict(wish))
    return before


def paused(output: Path) -> Pause | None:
    """Return the pause of a folder of runs, None if there is none.

    Raises:
        StorageError: if the file cannot be read; one that says nothing is a pause all the same.
    """
    path = output / CONTROL / "paused"
    try:
        return TypeAdapter(Pause).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        return Pause(by="somebody", since="an unknown time")
    except OSError as error:
        raise storage_error(f"cannot read {path}", error) from error


def end_pause(output: Path) -> Pause | None:
    """Let things begin again; return the pause that there was.

    Raises:
        StorageError: if it cannot be removed.
    """
    before = paused(output)
    try:
        (output / CONTROL / "paused").unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(f"cannot remove {output / CONTROL / 'paused'}", error) from error
    return before


def ask_to_cancel(output: Path, framework: str, run_id: str) -> Path:
    """Ask the runner at work to stop one run; return the request, which is gone once that run has ended or is left out.

    Raises:
        StorageError: if it cannot be written.
    """
    request = output / CONTROL / "cancel" / framework / run_id
    _make(request.parent)
    try:
        # Made at once, under its own name: it says nothing but that it is there, and what is there is looked at.
        request.touch()
    except OSError as error:
        raise storage_error(f"cannot make {request}", error) from error
    return request


class Control:
    """The ear of the runner at work; it holds a thread that looks at the requests.

    Args:
        output: folder of run directories, claimed by this process.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._requests = output / CONTROL / "cancel"
        self._lock = threading.Lock()
        self._switches: dict[tuple[str, str], Cancellation] = {}
        self._left_out: set[tuple[str, str]] = set()
        """Runs that somebody asked to stop while they were not at work."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="control", daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen; requests made of a runner before this one are void."""
        shutil.rmtree(self._requests, ignore_errors=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        shutil.rmtree(self._requests, ignore_errors=True)

    def hindrance(self) -> str:
        """Return why nothing may begin now; empty if nobody has paused this folder."""
        try:
            wish = paused(self._output)
        except StorageError as error:
            return str(error)
        return f"{wish}; `runner resume` ends that" if wish is not None else ""

    def unwanted(self, run: Run) -> bool:
        """Say whether somebody asked to stop a run that is not at work; it is left to the next invocation then."""
        name = (run.framework.name, run.id)
        with self._lock:
            return name in self._left_out or self._request(name).exists()

    @contextlib.contextmanager
    def steering(self, run: Run, everything: Cancellation) -> Iterator[Cancellation]:
        """Yield the switch of one run for as long as it is at work; it is thrown with that of all as well."""
        name = (run.framework.name, run.id)
        with everything.child() as switch:
            with self._lock:
                self._switches[name] = switch
                # Somebody asked after `unwanted` had been: it is at work only now.
                late = name in self._left_out
            if late:
                switch.cancel()
            try:
                yield switch
            finally:
                with self._lock:
                    del self._switches[name]
                self._done_with(name)

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_AGAIN):
            for name in self._asked():
                with self._lock:
                    switch = self._switches.get(name)
                    if switch is None:
                        self._left_out.add(name)
                if switch is not None:
                    switch.cancel()
                else:
                    # Whoever asked waits for the answer, not for the turn of a run that will have none.
                    self._done_with(name)

    def _done_with(self, name: tuple[str, str]) -> None:
        with contextlib.suppress(OSError):
            self._request(name).unlink(missing_ok=True)

    def _request(self, name: tuple[str, str]) -> Path:
        return self._requests.joinpath(*name)

    def _asked(self) -> list[tuple[str, str]]:
        """Return framework and id of the runs that are to be stopped; what cannot be read asks for nothing."""
        return [(request.parent.name, request.name) for request in self._requests.glob("*/*")]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(f"cannot make {folder}", error) from error
