"""One attempt at a step: in a container of its own, from its creation to its evidence on disk and its removal."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from runner.engine.protocol import ContainerSpec, ContainerState, Usage
from runner.events import AttemptStarted, OutputLine
from runner.evidence.layout import StepLayout
from runner.evidence.records import AnswerUse, AttemptRecord
from runner.evidence.tree import TreeScan, changes, scan
from runner.evidence.untrusted import ShimReport, StepResult, problems, read_result, read_shim_report
from runner.execution.conditions import Ready
from runner.execution.contain import Ended, Job, contain
from runner.execution.container import command, container_spec, image_of, prepare_attempt
from runner.execution.context import Context, iso, now
from runner.execution.model_calls import Metered, model_session
from runner.execution.outputs import answer_uses, collect_outputs
from runner.execution.place import Place
from runner.execution.values import Unusable, Value
from runner.execution.verdict import Facts, Verdict, judge
from runner.gateway.session import Totals
from runner.plan.models import PlannedStep, Run


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to perform, on what, and how long it may take."""

    context: Context
    run: Run
    ready: Ready
    place: Place
    number: int
    """Number of the attempt, from 1."""
    deadline: float
    """Seconds."""
    deadline_name: str
    """Which limit the deadline comes from, for the reason."""

    @property
    def step(self) -> PlannedStep:
        return self.ready.step

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
    tree: TreeScan | None
    """The workspace afterwards; None for a step that sees none."""
    changed: int | None
    notes: tuple[str, ...]
    """What could not be removed, or not be used of the reports of the inside."""
    outputs: tuple[Value, ...] = ()
    """Values it gave; none unless it passed."""
    answers: tuple[AnswerUse, ...] = ()
    """Questions it asked."""


def perform_attempt(order: Order) -> Attempt:
    """Perform a step once, in a fresh container, and keep what it left.

    Returns:
        The attempt, whatever happened: a refusal of the engine is part of it.

    Raises:
        Unusable: if its command has a placeholder that does not exist.
        GatewayError: if the gateway cannot open a session.
    """
    context, run, step = order.context, order.run, order.step
    prepare_attempt(order.files, run, order.ready, order.number)
    with model_session(context, run, step, order.number) as metered:
        spec = container_spec(
            context, run, step, order.place, attempt=order.number, session=metered.session, deadline=order.deadline
        )
        context.events(AttemptStarted(time=now(), run=run.id, step=step.id, attempt=order.number, container=spec.name))
        ended = contain(_job(order, spec))
    return _assess(order, spec, ended, metered)


def _job(order: Order, spec: ContainerSpec) -> Job:
    context, limits = order.context, order.step.limits
    return Job(
        engine=context.engine,
        spec=spec,
        deadline=order.deadline,
        grace=limits.grace,
        log=limits.log,
        files=order.files,
        cancellation=context.cancellation,
        spent=context.spent,
        started=lambda container: _follow(order, container),
    )


def _assess(order: Order, spec: ContainerSpec, ended: Ended, metered: Metered) -> Attempt:
    report, result = read_shim_report(order.files.outputs), read_result(order.files.outputs)
    tree, changed = _look(order.place)
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
    verdict, outputs = _with_outputs(order, judge(facts), ended, report)
    answers, doubts = answer_uses(order.step, order.files)
    return Attempt(
        record=_record(order, spec, ended, facts, verdict),
        usage=ended.usage,
        report=report,
        result=result,
        totals=metered.totals,
        tree=tree,
        changed=changed,
        notes=(*ended.notes, *metered.notes, *problems(order.files.outputs), *doubts),
        outputs=outputs,
        answers=answers,
    )


def _look(place: Place) -> tuple[TreeScan | None, int | None]:
    """Return the workspace after a step and the number of its changes; what could not be written has none."""
    if place.workspace is None:
        return None, None
    if place.read_only:
        return place.before, 0
    tree = scan(place.workspace)
    return tree, changes(place.before, tree).total


def _with_outputs(
    order: Order, verdict: Verdict, ended: Ended, report: ShimReport | None
) -> tuple[Verdict, tuple[Value, ...]]:
    """Return the verdict on a step with what it gives; one that passed and does not give what it has to has failed."""
    if verdict[0] != "passed" or not order.step.outputs:
        return verdict, ()
    dropped = bool(report and report.dropped_stdout) or bool(ended.logs and ended.logs.dropped_stdout)
    try:
        return verdict, collect_outputs(order.step, order.files, order.place.workspace, dropped=dropped)
    except Unusable as error:
        return ("failed", error.what), ()


def _record(order: Order, spec: ContainerSpec, ended: Ended, facts: Facts, verdict: Verdict) -> AttemptRecord:
    state, logs, report = ended.state, ended.logs, facts.report
    started, finished = (state.started_at, state.finished_at) if state is not None else (None, None)
    return AttemptRecord(
        attempt=order.number,
        container=spec.name,
        image_id=image_of(order.run, order.step).id or "",
        argv=command(order.run, order.step),
        cwd=spec.workdir,
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
        outcome=verdict[0],
        reason=verdict[1],
        error=ended.error or (state.error if state is not None else "") or (report.error if report is not None else ""),
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
