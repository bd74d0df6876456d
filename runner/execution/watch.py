"""Watch what a step writes to the host's disk, and stop it when it is too much: no kernel does that on every machine.

Two looks are taken. A cheap one, four times a second, asks the file system how much of it is in use. Only if it holds
so much more than before that the step may be near a limit, or some time has passed, are the step's folders gone through
and weighed; going through them takes a bounded share of one core. Docs: `docs/decisions/0018-limits-that-are-watched.md`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import EngineError, StorageError
from runner.evidence.tree import TreeScan
from runner.evidence.weigh import Weight, weigh
from runner.execution.nameless import nameless_bytes
from runner.spec.models import Limits

FIRST = 1.0
"""Seconds after which a step is watched; a shorter one is only weighed at its end."""
TICK = 0.25
"""Seconds between two looks at the file system."""
PATIENCE = 10.0
"""Seconds after which the folders are weighed whatever the file system says."""
SLICE = 0.005
"""Seconds of work after which the share is looked at."""
SHARE, HURRY = 0.05, 0.5
"""Parts of one core that weighing may use: usually, and when the file system has filled up by all that was left."""
MOST_GRACE = 1.0
"""Seconds at most between the polite signal and the kill: what is stopped here is filling the disk meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The folders that a step can write to, and how much they may hold."""

    workspace: Path | None
    """None: it sees none, or cannot write to it."""
    others: tuple[Path, ...]
    """/state and /out."""
    limits: Limits
    cgroup: str = ""
    """Parent cgroup of the step's container; empty: none."""

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.workspace, *self.others) if self.workspace is not None else self.others

    def excess(self, workspace: Weight, others: Weight, nameless: int = 0) -> str:
        """Return in a sentence what is too much, if anything is."""
        limits, count = self.limits, workspace.names + others.names
        if workspace.bytes > limits.workspace:
            return _too_much("/workspace holds", workspace.bytes, "bytes", "workspace", limits.workspace)
        if workspace.bytes + nameless > limits.workspace:
            found = workspace.bytes + nameless
            return _too_much(
                "/workspace and open files without a name hold", found, "bytes", "workspace", limits.workspace
            )
        if others.bytes > limits.state:
            return _too_much("/state and /out hold", others.bytes, "bytes", "state", limits.state)
        if count > limits.files:
            return _too_much("/workspace, /state and /out hold", count, "files and folders", "files", limits.files)
        return ""


def _too_much(where: str, found: int, what: str, name: str, limit: int) -> str:
    return f"{where} at least {found} {what}: limits.{name} is {limit} (watched)"


@dataclass(frozen=True, kw_only=True)
class _Use:
    """How much of a file system is in use, by everybody."""

    bytes: int
    names: int


@dataclass(kw_only=True)
class Watch:
    """What a watch has found so far."""

    bounds: Bounds
    reason: str = ""
    """Why the step was stopped; empty if it was not."""
    _over: threading.Event = field(default_factory=threading.Event)
    _room: _Use = field(default_factory=lambda: _Use(bytes=0, names=0))
    """What was left of the limits when the folders were weighed; before that, the limits."""
    _used: _Use = field(default_factory=lambda: _Use(bytes=0, names=0))
    """What the file system held then, or when the watch began."""
    _next: float = 0.0
    """Moment, by the monotonic clock, at which they are weighed whatever the file system says."""

    def look(self) -> str:
        """Weigh the folders if there is reason to; return in a sentence what is too much, if anything is."""
        used = _in_use(self.bounds.folders[-1])
        grown = used.bytes - self._used.bytes, used.names - self._used.names
        near = 2 * grown[0] >= self._room.bytes or 2 * grown[1] >= self._room.names
        if not near and time.monotonic() < self._next:
            return ""
        full = grown[0] >= self._room.bytes or grown[1] >= self._room.names
        pace = _Pace(HURRY if full else SHARE, self._over)
        excess, workspace, others = _weighed(self.bounds, pace)
        limits = self.bounds.limits
        self._room = _Use(
            bytes=min(limits.workspace - workspace.bytes, limits.state - others.bytes),
            names=limits.files - workspace.names - others.names,
        )
        self._used, self._next = used, time.monotonic() + PATIENCE
        return excess

    def at_end(self, tree: TreeScan | None) -> str:
        """Return why the step was stopped, or what it has left too much of.

        Args:
            tree: the workspace as it was seen when the step had ended; None if nobody looked.
        """
        if self.reason:
            return self.reason
        writable = tree if self.bounds.workspace is not None else None
        workspace = Weight(bytes=writable.bytes, names=len(writable.entries)) if writable is not None else Weight()
        others = weigh(self.bounds.others, lambda: True, self.bounds.limits.state, self.bounds.limits.files)
        return self.bounds.excess(workspace, others)

    def run(self, stop: Callable[[], None]) -> None:
        """Look until the step is over; stop it once it has too much, again and again should the engine not listen."""
        pause, limits = FIRST, self.bounds.limits
        self._room = _Use(bytes=min(limits.workspace, limits.state), names=limits.files)
        with contextlib.suppress(OSError):
            self._used = _in_use(self.bounds.folders[-1])
        while not self._over.wait(pause):
            pause = TICK
            if not self.reason:
                with contextlib.suppress(OSError, StorageError):  # what cannot be read is said when the step has ended
                    self.reason = self.look()
            if self.reason:
                pause = MOST_GRACE
                with contextlib.suppress(EngineError):
                    stop()

    def end(self) -> None:
        """End the watch, in the middle of a look too."""
        self._over.set()


@contextlib.contextmanager
def watched(bounds: Bounds, stop: Callable[[], None]) -> Iterator[Watch]:
    """Watch the folders that a step writes to for as long as the block lasts.

    Args:
        bounds: the folders, and how much they may hold.
        stop: ends the step's container, and does nothing if there is none; called in a thread of the watch.
    """
    watch = Watch(bounds=bounds)
    thread = threading.Thread(target=watch.run, args=(stop,), name="watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.end()
        thread.join()


class _Pace:
    """Keeps work to a part of one core: called often, it sleeps as long as the work since the last sleep asks for."""

    def __init__(self, share: float, over: threading.Event) -> None:
        self._rest = (1 - share) / share
        self._over = over
        self._since = time.thread_time()

    def __call__(self) -> bool:
        """Sleep if it is time to; return whether to go on."""
        worked = time.thread_time() - self._since
        if worked < SLICE:
            return True
        stopped = self._over.wait(worked * self._rest)
        self._since = time.thread_time()
        return not stopped


def _weighed(bounds: Bounds, pace: Callable[[], bool]) -> tuple[str, Weight, Weight]:
    """Weigh until something is too much; return that in a sentence, the workspace's weight and that of the rest."""
    limits, own = bounds.limits, () if bounds.workspace is None else (bounds.workspace,)
    workspace = weigh(own, pace, limits.workspace, limits.files)
    nameless = nameless_bytes(bounds.cgroup, {folder.stat().st_dev for folder in bounds.folders}, pace)
    others = weigh(bounds.others, pace, limits.state, limits.files - workspace.names)
    return bounds.excess(workspace, others, nameless), workspace, others


def _in_use(folder: Path) -> _Use:
    status = os.statvfs(folder)
    return _Use(
        bytes=(status.f_blocks - status.f_bfree) * status.f_frsize,
        names=status.f_files - status.f_ffree,
    )
