"""The life of one container: created, started, waited for, its evidence kept, then removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from runner.engine.protocol import ContainerSpec, ContainerState, Engine, NotFound, Usage
from runner.errors import EngineError, RunnerError, one_line
from runner.evidence.layout import StepLayout
from runner.evidence.logs import LogSizes, collect_logs
from runner.evidence.metrics import RESOURCES
from runner.execution.cancellation import Cancellation

_BACKSTOP = 20.0
"""Seconds past deadline and grace after which the runner no longer trusts the shim to end the step."""


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
    shimmed: bool = True
    """Whether a shim inside keeps the deadline; else the runner does."""


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
    notes: list[str] = field(default_factory=list)


def contain(job: Job) -> Ended:
    """Create, start, wait, collect, remove; the container goes only after its evidence is on disk.

    Returns:
        What became of it, whatever happened: a refusal of the engine is part of it.
    """
    ended = Ended()
    if job.cancellation.cancelled:
        return ended
    try:
        container = job.engine.containers.create(job.spec)
        _wait(job, container, ended)
    except EngineError as error:
        ended.error = one_line(error)
    finally:
        if ended.state is None:
            _end(job, ended)
    if ended.state is not None:
        _collect(job, ended)
    return ended


def _wait(job: Job, container: str, ended: Ended) -> None:
    engine = job.engine

    def stop() -> None:
        with contextlib.suppress(EngineError):  # the deadline inside the container ends it all the same
            engine.containers.stop(container, job.grace)

    with job.cancellation.told(stop):
        engine.containers.start(container)
        if job.cancellation.cancelled:
            stop()  # told before it had started, when there was nothing to stop yet
        job.started(container)
        extra = job.grace + _BACKSTOP if job.shimmed else 0.0
        ended.state = engine.containers.wait(container, job.deadline + extra)
        if ended.state is None:
            ended.overdue = True
            engine.containers.stop(container, job.grace)
            ended.state = engine.containers.wait(container, _BACKSTOP)
    if ended.state is None:
        raise EngineError(
            "the container did not end, although its deadline had passed and the engine was told to kill it"
        )


def _end(job: Job, ended: Ended) -> None:
    """After an error of any kind, stop the container if it is there, so that nothing goes on writing."""
    engine, spec = job.engine, job.spec
    try:
        state = engine.observer.inspect(spec.name)
        if spec.labels.items() <= state.labels.items():
            engine.containers.stop(state.id, job.grace)
            state = engine.observer.inspect(state.id)
            if state.status == "running":
                ended.notes.append(f"container {spec.name} still runs in the engine")
            else:
                ended.state = state
    except NotFound:
        return
    except EngineError as error:
        ended.notes.append(f"container {spec.name} may still run: {error}")


def _collect(job: Job, ended: Ended) -> None:
    """Keep the output and the readings of a container that is over, then remove it.

    One whose output cannot be kept stays in the engine: the next start collects and removes it.
    """
    engine, spec = job.engine, job.spec
    try:
        ended.usage = engine.observer.usage(spec.name, spec.cgroup_parent)
    except EngineError as error:
        ended.usage = Usage(reasons=dict.fromkeys(RESOURCES, str(error)))
    try:
        ended.logs = collect_logs(engine.observer.logs(spec.name), job.files, job.log)
    except RunnerError as error:
        ended.error = ended.error or f"the output could not be kept: {one_line(error)}"
        ended.notes.append(f"container {spec.name} is still in the engine: its output could not be kept")
        return
    try:
        engine.containers.remove(spec.name)
    except EngineError as error:
        ended.notes.append(f"container {spec.name} is still in the engine: {error}")
        return
    if spec.cgroup_parent:
        job.spent.append(spec.cgroup_parent)
