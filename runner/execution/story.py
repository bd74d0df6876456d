"""What has happened in a run so far: its steps, its questions, the time it took, and its record on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.metrics import write_metrics
from runner.evidence.records import RunRecord, StepRecord, Suspension
from runner.execution.step import StepDone

_FEW_STEPS = 100
"""A run of so many steps has its record written after each of them."""
_LEAST_PAUSE = 20
"""The record of a larger one is written when so many times as long has gone by as writing it took."""


@dataclass(kw_only=True)
class Story:
    """Filled in as the run goes on, so that whatever breaks loses nothing before it."""

    done: dict[str, StepDone] = field(default_factory=dict)
    """Steps that have ended, by id."""
    under_way: set[str] = field(default_factory=set)
    """Steps that have begun and not ended, and those that we broke in."""
    asked: dict[str, Suspension] = field(default_factory=dict)
    """Approvals nobody has decided on, by step."""
    notes: list[str] = field(default_factory=list)
    trouble: str = ""
    """What broke us; empty if nothing did."""
    conflict: str = ""
    """Why changes of steps could not be merged at the end; empty if they could."""
    refused: str = ""
    """What a required check found wrong; empty if nothing."""
    interrupted: bool = False
    """Whether something broke because the engine was away or ended."""

    def in_order(self) -> list[StepDone]:
        """Return the steps that have ended, by position."""
        return sorted(self.done.values(), key=lambda one: one.record.index)

    def waiting(self) -> tuple[Suspension, ...]:
        """Return the approvals nobody has decided on, by position."""
        return tuple(sorted(self.asked.values(), key=lambda one: one.index))


class Clock:
    """Measures how long at least one step was under way, against a limit; safe in several threads.

    Args:
        limit: seconds that all of it may take.
        used: seconds used before.
    """

    def __init__(self, limit: float, used: float = 0.0) -> None:
        self._limit = limit
        self._used = used
        self._before = 0.0
        self._lock = threading.Lock()
        self._under_way = 0
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside the block."""
        self._start()
        try:
            yield
        finally:
            self._stop()

    def _start(self) -> None:
        with self._lock:
            if not self._under_way:
                self._since = time.monotonic()
            self._under_way += 1

    def _stop(self) -> None:
        with self._lock:
            self._under_way -= 1
            if not self._under_way:
                self._used += time.monotonic() - self._since

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time inside the block, which is inside one of `running`."""
        self._stop()
        try:
            yield
        finally:
            self._start()

    def take_up(self, seconds: float) -> None:
        """Count a step that an earlier runner began; of several, which were under way beside each other, the longest."""
        with self._lock:
            self._before = max(self._before, seconds)

    def remaining(self) -> float:
        """Return the seconds that are left; below 0 if there were too few."""
        with self._lock:
            running = time.monotonic() - self._since if self._under_way else 0.0
            return self._limit - self._used - self._before - running


class Saver:
    """Keeps a run's record on disk up to date while it goes on; used by one thread at a time.

    The record holds every step, so writing it after each of very many would take longer than the steps. What it may
    lag behind is in the steps' own records, which are written at once.

    Args:
        layout: where the run is.
        record: the record, without steps.
        story: what has happened.
    """

    def __init__(self, layout: RunLayout, record: RunRecord, story: Story) -> None:
        self._layout = layout
        self._record = record
        self._story = story
        self._next = 0.0

    def save(self) -> None:
        """Write the record, unless a large one was written just now.

        Raises:
            StorageError: if it cannot be written.
        """
        begun = time.monotonic()
        if len(self._record.run.steps) > _FEW_STEPS and begun < self._next:
            return
        done = self._story.in_order()
        notes = (*(note for one in done for note in one.notes), *self._story.notes)
        update = {"steps": tuple(one.record for one in done), "suspended": (), "notes": notes}
        write_json(self._layout.metadata, self._record.model_copy(update=update))
        ended = time.monotonic()
        self._next = ended + _LEAST_PAUSE * (ended - begun)


def seconds_under_way(records: Iterable[StepRecord]) -> float:
    """Return how long at least one of some steps was under way, by their records' times; approvals only wait."""
    spans = sorted(
        (datetime.fromisoformat(one.started_at).timestamp(), datetime.fromisoformat(one.finished_at).timestamp())
        for one in records
        if one.started_at is not None and one.finished_at is not None and one.kind != "approval"
    )
    total, reached = 0.0, float("-inf")
    for begin, end in spans:
        total += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return total


def write_step(layout: RunLayout, done: StepDone) -> None:
    """Write a step's record and metrics.

    Raises:
        StorageError: if they cannot be written.
    """
    files = layout.step(done.record.index)
    files.root.mkdir(parents=True, exist_ok=True)
    write_metrics(files.metrics, done.metrics)
    # The record comes last: a step that has one is done, and is never performed again.
    write_json(files.metadata, done.record)
