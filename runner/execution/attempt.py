"""One attempt at a step: in a container of its own, from its creation to its evidence on disk and its removal."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from runner.engine.protocol import ContainerSpec, Usage
from runner.events import AttemptStarted, OutputLine, boottime
from runner.evidence.layout import StepLayout
from runner.evidence.records import AnswerUse, AttemptRecord
from runner.evidence.tree import TreeScan, changes, scan, unlock
from runner.evidence.untrusted import ShimReport, StepResult, problems, read_result, read_shim_report
from runner.execution.begun import Collected, Left, write_collected
from runner.execution.conditions import Ready
from runner.execution.contain import Ended, Job, contain
from runner.execution.container import command, container_spec, image_of, prepare_attempt
from runner.execution.context import Context, iso, now
from runner.execution.model_calls import Metered, model_session
from runner.execution.outputs import answer_uses, collect_outputs
from runner.execution.place import Place
from runner.execution.values import Unusable, Value
from runner.execution.verdict import ENDED_WITH_ENGINE, Facts, Verdict, judge, seconds_by_engine
from runner.execution.watch import MOST_GRACE, Bounds, Watch, watched
from runner.gateway.session import Totals
from runner.names import LABEL_CGROUP, LABEL_DEADLINE
from runner.plan.models import PlannedStep, Run

SLACK = 30.0
"""Seconds past deadline and grace after which nothing of an attempt runs any more, whoever still lives."""


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
    gpus: tuple[str, ...] = ()
    """Ids of the devices that are its alone."""
    left: Left | None = None
    """What a runner that has ended left of this attempt, which is seen to its end then; None for a new attempt."""

    @property
    def began(self) -> float:
        """Return when the attempt began, seconds since boot."""
        began = self.left.begun.moment if self.left is not None else None
        return began if began is not None else boottime()

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
    interrupted: bool = False
    """Whether it broke because the engine was away or ended, so that a further attempt may go well."""


def perform_attempt(order: Order) -> Attempt:
    """Perform a step once, in a fresh container or in the one that an earlier runner left, and keep what it left.

    Returns:
        The attempt, whatever happened: a refusal of the engine is part of it.

    Raises:
        Unusable: if its command has a placeholder that does not exist.
        GatewayError: if the gateway cannot open a session.
    """
    context, run, step = order.context, order.run, order.step
    if order.left is None:
        prepare_attempt(order.files, run, order.ready, order.number)
    expires = order.began + order.deadline + step.limits.grace + SLACK
    with model_session(context, run, step, order.number, expires=expires, taken_up=order.left is not None) as metered:
        spec = container_spec(
            context,
            run,
            step,
            order.place,
            attempt=order.number,
            session=metered.session,
            deadline=order.deadline,
            gpus=order.gpus,
        )
        context.events(AttemptStarted(time=now(), run=run.id, step=step.id, attempt=order.number, container=spec.name))
        with _watch(order, spec) as watch:
            ended = _contained(order, spec, expires)
    return _assess(order, spec, ended, metered, watch)


def _contained(order: Order, spec: ContainerSpec, expires: float) -> Ended:
    """Run the attempt's container, wait for the one that is there, or return what was kept of it."""
    left = order.left
    if left is None:
        return contain(_job(order, replace(spec, labels={**spec.labels, LABEL_DEADLINE: f"{expires:.3f}"})))
    if left.ended is not None:
        if left.ended.state is not None and (parent := left.ended.state.labels.get(LABEL_CGROUP)):
            order.context.spent.append(parent)
        return left.ended
    labels = left.container.labels if left.container is not None else spec.labels
    job = _job(order, replace(spec, labels=labels, cgroup_parent=labels.get(LABEL_CGROUP) or None))
    return contain(replace(job, incarnation=left.begun.incarnation), left.container)


def _job(order: Order, spec: ContainerSpec) -> Job:
    context, limits = order.context, order.step.limits
    layout, index = context.layout(order.run), order.step.index
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
        over=lambda: _leave_room(context, spec.name),
        gate=context.gate,
        tell=context.events,
        keep=lambda ended: write_collected(layout, index, Collected(container=spec.name, ended=ended)),
    )


def _leave_room(context: Context, container: str) -> None:
    """Give back what a container had reserved: others may begin while its output is kept."""
    if context.reservations is not None:
        context.reservations.drop(container)


def _watch(order: Order, spec: ContainerSpec) -> AbstractContextManager[Watch]:
    """Watch what the step writes to the host's disk."""
    place, limits, left = order.place, order.step.limits, order.left
    labels = left.container.labels if left is not None and left.container is not None else spec.labels
    bounds = Bounds(
        workspace=None if place.read_only else place.workspace,
        others=(place.state, order.files.outputs),
        limits=limits,
        cgroup=labels.get(LABEL_CGROUP, ""),
    )
    return watched(bounds, lambda: order.context.engine.containers.stop(spec.name, min(limits.grace, MOST_GRACE)))


def _assess(order: Order, spec: ContainerSpec, ended: Ended, metered: Metered, watch: Watch) -> Attempt:
    for folder in filter(None, (order.place.workspace, order.place.state, order.files.outputs)):
        unlock(folder)
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
        cancelled=order.context.cancellation.why,
        model_error=metered.error,
        exceeded=metered.exceeded,
        replay_error=metered.replay_error,
        engine_error=ended.error,
        changed=changed,
        expect_changes=order.step.expect_changes,
        message=result.message if result else "",
        restarted=ended.restarted,
        taken_up=order.left is not None,
        waited=ended.waited,
        watched=watch.at_end(tree),
        file_limit=spec.resources.file,
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
        interrupted=not ended.may_run
        and (verdict == ENDED_WITH_ENGINE or (_ours(order, ended) and verdict[0] == "broken")),
    )


def _ours(order: Order, ended: Ended) -> bool:
    """Tell whether what broke the attempt may have been an answer that did not come, or the end of its first runner."""
    return ended.unanswered or order.left is not None


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
        gpus=order.gpus,
        started_at=iso(started),
        finished_at=iso(finished),
        seconds=_seconds(ended, report),
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
        watched=bool(facts.watched) and verdict[1] == facts.watched,
    )


def _seconds(ended: Ended, report: ShimReport | None) -> float | None:
    """Return the container's wall time: the engine's, unless a steady clock shows that the time of day was set meanwhile.

    A busy engine may note a short container's start after its end, too. Then the shim tells, which measured the command
    alone; it is believed no more than the container can have taken.
    """
    by_engine = seconds_by_engine(ended.state)
    if by_engine is None:
        return None
    most = ended.waited if ended.waited is not None else by_engine
    by_shim = min(report.seconds, most) if report is not None and report.seconds is not None else None
    least = by_shim or 0.0
    if by_engine > 0 and least - _CLOCKS_APART <= by_engine <= most + _CLOCKS_APART:
        return by_engine
    return max(by_engine, 0.0) if by_shim is None and ended.waited is None else by_shim or most


_CLOCKS_APART = 2.0
"""Seconds by which readings of two clocks on a busy machine may differ."""


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
