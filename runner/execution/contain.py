"""The life of one container: created, started, waited for, its evidence kept, then removed."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from runner.engine.protocol import ContainerSpec, ContainerState, Engine, NotFound, Unanswered, Usage
from runner.errors import EngineError, RunnerError, one_line
from runner.events import EventSink
from runner.evidence.layout import StepLayout
from runner.evidence.logs import LogSizes, collect_logs
from runner.evidence.metrics import RESOURCES
from runner.execution.cancellation import Cancellation
from runner.execution.gate import Gate

T = TypeVar("T")

_BACKSTOP = 20.0
"""Seconds past deadline and grace after which the runner no longer trusts the shim to end the step."""
_NOT_ITS_OWN = frozenset({128 + signal.SIGKILL, 128 + signal.SIGTERM, 255})
"""Exit codes of a container that an engine ends, or finds ended when it comes back."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A container to run to its end, and what is needed to bound and to keep it."""

    engine: Engine
    spec: ContainerSpec
    deadline: float
    """Seconds after which the shim ends the command."""
    grace: float
    """Seconds between the polite signal and the kill."""
    log: int
    """Bytes of each stream that are kept (limits.log)."""
    files: StepLayout
    """Where the output goes."""
    cancellation: Cancellation
    spent: list[str]
    """Takes the parent cgroup once it has been read; see Context.spent."""
    started: Callable[[str], None] = lambda _: None
    """Told the container's id when it runs."""
    over: Callable[[], None] = lambda: None
    """Told once it has ended and uses nothing any more, before its output is kept."""
    shimmed: bool = True
    """Whether a shim inside keeps the deadline; else the runner does."""
    gate: Gate = field(default_factory=Gate)
    """Holds back calls while the engine is away."""
    tell: EventSink = lambda _: None
    """Told when that begins and ends."""
    keep: Callable[[Ended], None] = lambda _: None
    """Takes what is known of the container, once its output is kept and before it is removed."""
    incarnation: str = ""
    """The engine's when the container was made, if an earlier runner made it."""

    def patiently(self, call: Callable[[], T]) -> T:
        """Make a call that does no harm when repeated; see `Gate.patiently`."""
        return self.gate.patiently(call, self.cancellation, self.tell)


@dataclass(kw_only=True)
class Ended:
    """What is known of a container, filled in as its life goes on, so that a late error loses nothing before it."""

    state: ContainerState | None = None
    usage: Usage = field(default_factory=Usage)
    logs: LogSizes | None = None
    overdue: bool = False
    """Whether the runner itself had to stop it."""
    error: str = ""
    """What the engine refused, if it did."""
    unanswered: bool = False
    """Whether it is an answer that did not come, so that the same may go well when the engine is back."""
    restarted: bool = False
    """Whether the engine was away, or ended, while the container was there."""
    may_run: bool = False
    """Whether something of it may still run, so that nobody else may work where it does."""
    waited: float | None = None
    """Seconds from its start to the news of its end, by this machine's steady clock: no less than it ran. None if it
    was not started here, or did not end."""
    notes: list[str] = field(default_factory=list)


def contain(job: Job, running: ContainerState | None = None) -> Ended:
    """Create, start, wait, collect, remove; the container goes only after its evidence is on disk.

    Args:
        job: what to do.
        running: the container, if an earlier runner has created and started it: it is waited for.

    Returns:
        What became of it, whatever happened: a refusal of the engine is part of it.
    """
    ended = Ended()
    if running is None and job.cancellation.cancelled:
        return ended
    before = job.incarnation or job.engine.incarnation()
    try:
        container = job.engine.containers.create(job.spec) if running is None else running.id
        _wait(job, container, ended, running)
        ended.restarted = ended.restarted or _is_another(job, before, ended)
        if ended.restarted:
            _stop(job, ended, container)  # an engine that comes back may take for ended what goes on
        job.over()
    except EngineError as error:
        ended.error, ended.unanswered = one_line(error), isinstance(error, Unanswered)
    finally:
        if ended.state is None:
            _end(job, ended)
    if ended.state is not None:
        _collect(job, ended)
    return ended


def _wait(job: Job, container: str, ended: Ended, running: ContainerState | None) -> None:
    engine = job.engine

    def stop() -> None:
        with contextlib.suppress(EngineError):  # the deadline inside the container ends it all the same
            engine.containers.stop(container, job.grace)

    with job.cancellation.told(stop):
        begun = time.monotonic()
        if running is None:
            engine.containers.start(container)
        if job.cancellation.cancelled:
            stop()  # told before it had started, when there was nothing to stop yet
        job.started(container)
        extra = job.grace + _BACKSTOP if job.shimmed else 0.0
        # One that an earlier runner has started gets its whole time again here: how much of it is gone only times of day
        # tell, which somebody may have set, and the shim inside keeps the deadline all the same.
        ended.state = _until(job, ended, container, job.deadline + extra)
        if ended.state is None:
            ended.overdue = True
            job.patiently(lambda: engine.containers.stop(container, job.grace))
            ended.state = _until(job, ended, container, _BACKSTOP)
    if ended.state is None:
        raise EngineError(
            "the container did not end, although its deadline had passed and the engine was told to kill it"
        )
    ended.waited = time.monotonic() - begun if running is None else None


def _until(job: Job, ended: Ended, container: str, seconds: float) -> ContainerState | None:
    """Wait for a container's end; an engine that goes away meanwhile is waited for as well, however long it takes."""
    end = time.monotonic() + seconds

    def wait() -> ContainerState | None:
        try:
            return job.engine.containers.wait(container, max(end - time.monotonic(), 0.0))
        except Unanswered:
            ended.restarted = True
            raise

    return job.patiently(wait)


def _is_another(job: Job, before: str, ended: Ended) -> bool:
    """Tell whether the engine that a container was made with has ended, or is about to.

    An engine that is told to end hangs up on nobody before its containers have ended, but takes no new calls.
    """
    now = job.engine.incarnation()
    if before and now and now != before:
        return True
    killed = ended.state is not None and ended.state.exit_code in _NOT_ITS_OWN and not ended.overdue
    return killed and not job.cancellation.cancelled and bool(job.engine.absence())


def _end(job: Job, ended: Ended) -> None:
    """After an error of any kind, stop the container if it is there, so that nothing goes on writing."""
    engine, spec = job.engine, job.spec
    try:
        state = job.patiently(lambda: engine.observer.inspect(spec.name))
        if not spec.labels.items() <= state.labels.items():
            return
        _stop(job, ended, state.id)
        if ended.may_run:
            return
        state = job.patiently(lambda: engine.observer.inspect(state.id))
        if state.status == "running":
            ended.may_run = True
            ended.notes.append(f"container {spec.name} still runs in the engine")
        else:
            ended.state = state
    except NotFound:
        return
    except EngineError as error:
        ended.may_run = True
        ended.notes.append(f"container {spec.name} may still run: {error}")


def _stop(job: Job, ended: Ended, container: str) -> None:
    """Have nothing of a container run, or say that something may."""
    try:
        job.patiently(lambda: job.engine.containers.stop(container, job.grace))
    except EngineError as error:
        ended.may_run = True
        ended.notes.append(f"container {job.spec.name} may still run: {error}")


def _collect(job: Job, ended: Ended) -> None:
    """Keep the output and the readings of a container that is over, then remove it.

    One whose output cannot be kept, or of which something may still run, stays in the engine: the next start collects
    and removes it.
    """
    engine, spec = job.engine, job.spec
    try:
        ended.usage = engine.observer.usage(spec.name, spec.cgroup_parent)
    except EngineError as error:
        ended.usage = Usage(reasons=dict.fromkeys(RESOURCES, str(error)))
    try:
        ended.logs = job.patiently(lambda: collect_logs(engine.observer.logs(spec.name), job.files, job.log))
        job.keep(ended)
    except RunnerError as error:
        ended.error = ended.error or f"the output could not be kept: {one_line(error)}"
        ended.notes.append(f"container {spec.name} is still in the engine: its output could not be kept")
        return
    if ended.may_run:
        return
    try:
        job.patiently(lambda: engine.containers.remove(spec.name))
    except EngineError as error:
        ended.notes.append(f"container {spec.name} is still in the engine: {error}")
        return
    if spec.cgroup_parent:
        job.spent.append(spec.cgroup_parent)
