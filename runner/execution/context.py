"""What every run of one `runner go` shares."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runner.engine.owner import Owner
from runner.engine.protocol import Engine, EngineInfo
from runner.engine.reservations import Reservations
from runner.errors import EngineError
from runner.events import EventSink, Notice
from runner.evidence.layout import RunLayout
from runner.execution.cancellation import Cancellation
from runner.execution.gate import Gate
from runner.execution.place import Origin
from runner.execution.slots import Slots
from runner.gateway.session import Gateway
from runner.plan.models import Run


@dataclass(frozen=True, kw_only=True)
class Context:
    """Hands of a run: where it runs, its way out, where its evidence goes, who is told."""

    engine: Engine
    info: EngineInfo
    gateway: Gateway | None
    """None if no run of this invocation has a way out."""
    owner: Owner
    output: Path
    """Absolute path of the folder of run directories."""
    answers: Mapping[tuple[str, str], Path]
    """Scripted answers by (framework, scenario)."""
    images: Mapping[str, str]
    """Config digest of an image -> the id this engine knows it by."""
    events: EventSink
    cancellation: Cancellation
    recordings: Mapping[str, Path] = field(default_factory=dict)
    """Run directory whose calls are answered again, by digest of the run that replays them."""
    packages_folder: Path | None = None
    """Where the experiment's `packages.folder` is."""
    follow: bool = False
    """Whether output lines are sent as events while a step runs."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """What a forked run begins with, by its digest."""
    reservations: Reservations | None = None
    """What all runners of this machine have reserved; None: nobody else is looked at."""
    slots: Slots = field(default_factory=Slots)
    """Containers of the experiment at once."""
    gate: Gate = field(default_factory=Gate)
    """What each run, and each attempt's container, passes before it begins."""
    spent: list[str] = field(default_factory=list)
    """Parent cgroups of attempts that are over and read; `release` removes them, many at once."""

    def layout(self, run: Run) -> RunLayout:
        """Return the layout of the run's directory."""
        return RunLayout(self.output / run.framework.name / run.id)

    def object_name(self, run: Run) -> str:
        """Return the prefix of the run's engine objects: the same run in another folder or of another user differs."""
        place = hashlib.sha256(f"{self.owner.uid}:{self.layout(run).root}".encode()).hexdigest()[:8]
        return f"cgr-{run.framework.name}-{run.id}-{place}"

    @property
    def user(self) -> str:
        """Return `uid:gid` inside containers: a rootless engine maps 0 to the caller."""
        return (
            "0:0"
            if self.info.rootless
            else f"{self.owner.uid}:{self.owner.uid if self.owner.gid is None else self.owner.gid}"
        )


MOST_SPENT = 64
"""Attempts that are over after which their cgroups are removed, before the end of the experiment."""


def release(context: Context) -> None:
    """Remove the parent cgroups of attempts that are over; what cannot be removed now is found at the next start."""
    spent = []
    with suppress(IndexError):
        # Runs that end at the same time share what there is.
        while True:
            spent.append(context.spent.pop())
    try:
        context.engine.observer.release(spent)
    except EngineError as error:
        context.events(Notice(time=now(), text=str(error), level="warning"))


def now() -> float:
    """Return the time of an event or a record, seconds since the epoch."""
    return time.time()


def iso(seconds: float | None) -> str | None:
    """Write a time as UTC, ISO 8601 with milliseconds; None stays None."""
    if seconds is None:
        return None
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"
