"""One attempt: a container for a step, from its creation to its evidence on disk and its removal."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field

from runner.engine.protocol import ContainerSpec, ContainerState, NotFound, Usage
from runner.errors import EngineError, RunnerError
from runner.events import AttemptStarted, OutputLine
from runner.evidence.layout import StepLayout
from runner.evidence.logs import LogSizes, collect_logs
from runner.evidence.metrics import RESOURCES
from runner.evidence.records import AttemptRecord
from runner.evidence.tree import TreeScan, changes, scan
from runner.evidence.untrusted import ShimReport, StepResult, problems, read_result, read_shim_report
from runner.execution.container import command, container_spec, prepare_attempt
from runner.execution.context import Context, iso, now
from runner.execution.model_calls import Metered, model_session
from runner.execution.verdict import Facts, judge
from runner.gateway.session import Totals
from runner.plan.models import PlannedStep, Run

_BACKSTOP = 20.0
"""Seconds past deadline and grace after which the runner no longer trusts the shim to end the step."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to perform, and how long it may take."""

    context: Context
    run: Run
    step: PlannedStep
    number: int
    """Number of the attempt, from 1."""
    deadline: float
    """Seconds."""
    deadline_name: str
    """Which limit the deadline comes from, for the reason."""

    @property
    def files(self) -> StepLayout:
        return self.context.layout(self.run).step(self.step.index)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What an attempt came to."""

    record: AttemptRecord
    usage: Usage
    report: ShimReport | None
    result: StepResult | None
    totals: Totals | None
    """Model calls; None without a model."""
    tree: TreeScan
    """The workspace afterwards."""
    changed: int
    notes: tuple[str, ...]
    """What could not be removed, or not be used of the reports of the inside."""


@dataclass(kw_only=True)
class _Ended:
    """What is known of a container, filled in as its life goes on, so that a late error loses nothing before it."""

    state: ContainerState | None = None
    usage: Usage = field(default_factory=Usage)
    logs: LogSizes | None = None
    overdue: bool = False
    error: str = ""
    notes: list[str] = field(default_factory=list)


def perform_attempt(order: Order, before: TreeScan) -> Attempt:
    """Perform a step once, in a fresh container, and keep what it left.

    Args:
        order: what to perform.
        before: the workspace as the step finds it.

    Returns:
        The attempt, whatever happened: a refusal of the engine is part of it.
    """
    context, run, step = order.context, order.run, order.step
    prepare_attempt(order.files, run, step, order.number)
    with model_session(context, run, step, order.number) as metered:
        spec = container_spec(
            context, run, step, attempt=order.number, session=metered.session, deadline=order.deadline
        )
        context.events(AttemptStarted(time=now(), run=run.id, step=step.id, attempt=order.number, container=spec.name))
        ended = _contain(order, spec)
    return _assess(order, spec, ended, metered, before)


def _contain(order: Order, spec: ContainerSpec) -> _Ended:
    """Create, start, wait, collect, remove; the container goes only after its evidence is on disk."""
    ended = _Ended()
    if order.context.cancellation.cancelled:
        return ended
    try:
        container = order.context.engine.containers.create(spec)
        _wait(order, container, ended)
    except EngineError as error:
        ended.error = str(error)
    finally:
        if ended.state is None:
            _end(order, spec, ended)
    if ended.state is not None:
        _collect(order, spec, ended)
    return ended


def _wait(order: Order, container: str, ended: _Ended) -> None:
    engine, cancellation = order.context.engine, order.context.cancellation
    grace = order.step.limits.grace

    def stop() -> None:
        with contextlib.suppress(EngineError):  # the deadline inside the container ends it all the same
            engine.containers.stop(container, grace)

    with cancellation.told(stop):
        engine.containers.start(container)
        if cancellation.cancelled:
            stop()  # told before it had started, when there was nothing to stop yet
        _follow(order, container)
        ended.state = engine.containers.wait(container, order.deadline + grace + _BACKSTOP)
        if ended.state is None:
            ended.overdue = True
            engine.containers.stop(container, grace)
            ended.state = engine.containers.wait(container, _BACKSTOP)
    if ended.state is None:
        raise EngineError(
            "the container did not end, although its deadline had passed and the engine was told to kill it"
        )


def _end(order: Order, spec: ContainerSpec, ended: _Ended) -> None:
    """After an error of any kind, stop the attempt's container if it is there, so that nothing goes on writing."""
    engine = order.context.engine
    try:
        state = engine.observer.inspect(spec.name)
        if spec.labels.items() <= state.labels.items():
            engine.containers.stop(state.id, order.step.limits.grace)
            state = engine.observer.inspect(state.id)
            if state.status == "running":
                ended.notes.append(f"container {spec.name} still runs in the engine")
            else:
                ended.state = state
    except NotFound:
        return
    except EngineError as error:
        ended.notes.append(f"container {spec.name} may still run: {error}")


def _collect(order: Order, spec: ContainerSpec, ended: _Ended) -> None:
    """Keep the output and the readings of a container that is over, then remove it.

    One whose output cannot be kept stays in the engine: the next start collects and removes it.
    """
    engine = order.context.engine
    try:
        ended.usage = engine.observer.usage(spec.name, spec.cgroup_parent)
    except EngineError as error:
        ended.usage = Usage(reasons=dict.fromkeys(RESOURCES, str(error)))
    try:
        ended.logs = collect_logs(engine.observer.logs(spec.name), order.files, order.step.limits.log)
    except RunnerError as error:
        ended.error = ended.error or f"the output could not be kept: {error}"
        ended.notes.append(f"container {spec.name} is still in the engine: its output could not be kept")
        return
    try:
        engine.containers.remove(spec.name)
    except EngineError as error:
        ended.notes.append(f"container {spec.name} is still in the engine: {error}")
        return
    if spec.cgroup_parent:
        order.context.spent.append(spec.cgroup_parent)


def _assess(order: Order, spec: ContainerSpec, ended: _Ended, metered: Metered, before: TreeScan) -> Attempt:
    layout = order.context.layout(order.run)
    report, result = read_shim_report(order.files.outputs), read_result(order.files.outputs)
    tree = scan(layout.workspace)
    changed = changes(before, tree).total
    facts = Facts(
        state=ended.state,
        report=report,
        oom_kills=ended.usage.oom_kills,
        memory_limit=order.step.limits.memory,
        deadline=order.deadline,
        deadline_name=order.deadline_name,
        overdue=ended.overdue,
        cancelled=order.context.cancellation.cancelled,
        model_error=metered.error,
        exceeded=metered.exceeded,
        replay_error=metered.replay_error,
        engine_error=ended.error,
        changed=changed,
        expect_changes=order.step.expect_changes,
        message=result.message if result else "",
    )
    return Attempt(
        record=_record(order, spec, ended, facts),
        usage=ended.usage,
        report=report,
        result=result,
        totals=metered.totals,
        tree=tree,
        changed=changed,
        notes=(*ended.notes, *metered.notes, *problems(order.files.outputs)),
    )


def _record(order: Order, spec: ContainerSpec, ended: _Ended, facts: Facts) -> AttemptRecord:
    state, logs, report = ended.state, ended.logs, facts.report
    outcome, reason = judge(facts)
    started, finished = (state.started_at, state.finished_at) if state is not None else (None, None)
    return AttemptRecord(
        attempt=order.number,
        container=spec.name,
        image_id=order.run.image.id or "",
        argv=command(order.run, order.step),
        started_at=iso(started),
        finished_at=iso(finished),
        seconds=_seconds(state, report),
        exit_code=facts.code,
        signal=report.signal if report is not None else None,
        oom_killed=bool(state is not None and state.oom_killed),
        timed_out=facts.timed_out,
        stdout_bytes=report.stdout_bytes if report else (logs.stdout if logs else None),
        stderr_bytes=report.stderr_bytes if report else (logs.stderr if logs else None),
        dropped_bytes=(report.dropped_stdout + report.dropped_stderr if report else 0) + (logs.dropped if logs else 0),
        outcome=outcome,
        reason=reason,
    )


def _seconds(state: ContainerState | None, report: ShimReport | None) -> float | None:
    """Return the container's wall time; a busy engine may note a short one's start after its end, then the shim tells."""
    if state is None or state.started_at is None or state.finished_at is None:
        return None
    by_engine = state.finished_at - state.started_at
    return by_engine if by_engine > 0 or report is None else report.seconds


def _follow(order: Order, container: str) -> None:
    """Send the step's output lines as events while it runs, in a thread that ends with the container."""
    if not order.context.follow:
        return

    def read() -> None:
        pending = {"stdout": b"", "stderr": b""}
        for stream, chunk in order.context.engine.observer.logs(container, follow=True):
            *lines, rest = (pending[stream] + chunk).split(b"\n")
            pending[stream] = rest[-_LINE:]
            if lines and (line := lines[-1][-_LINE:].decode("utf-8", "replace").strip()):
                order.context.events(
                    OutputLine(time=now(), run=order.run.id, step=order.step.id, stream=stream, line=line)
                )

    threading.Thread(target=read, name=f"follow {container[:12]}", daemon=True).start()


_LINE = 4096
"""Bytes of a line that are shown; a longer line is cut from the left."""
