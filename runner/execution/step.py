"""One step of a run: its attempts, and what they come to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from runner.events import StepFinished, StepStarted
from runner.evidence.layout import StepLayout
from runner.evidence.metrics import MeasuredStep, MetricsReport, step_metrics
from runner.evidence.records import DecisionRecord, Outcome, Phase, StepRecord, ValueRecord
from runner.evidence.tree import TreeScan
from runner.execution.attempt import Attempt, Order, perform_attempt
from runner.execution.begun import Left, write_begun
from runner.execution.cancellation import BY_USER
from runner.execution.conditions import Ready, make_ready
from runner.execution.container import command
from runner.execution.context import Context, now
from runner.execution.left import begin_attempt, ready_again
from runner.execution.model_step import perform_call
from runner.execution.place import Place, Unrestorable
from runner.execution.values import Unusable, Values, keep_values
from runner.gateway.calls import read_calls
from runner.names import INPUTS_FOLDER
from runner.plan.models import PlannedStep, Run
from runner.spec.model import Model

Devices = tuple[str, ...]
"""Ids of GPUs."""
MOST_INTERRUPTED = 2
"""Times that what ended with the engine is begun again: an engine that takes its containers down each time is no accident."""


@dataclass(frozen=True, kw_only=True)
class StepOrder:
    """A step to perform, with everything it needs."""

    context: Context
    run: Run
    step: PlannedStep
    place: Place
    """What it works on."""
    again: Callable[[], Place]
    """Brings workspace and state back to what the step found, for a further attempt."""
    values: Values
    """What earlier steps gave."""
    remaining: Callable[[], float]
    """Seconds left of limits.run_timeout."""
    resting: Callable[[], AbstractContextManager[None]] = nullcontext
    """Entered while the step waits before a further attempt, and needs no container."""
    turn: Callable[[int, Devices | None], AbstractContextManager[Devices]] = lambda _number, _running: nullcontext(())
    """Entered around each attempt's container, waiting until it may begin; takes the attempt's number, and if its container
    runs already its devices; yields its devices."""
    left: Left | None = None
    """The last attempt that a runner which has ended began, if it can be seen to its end."""
    earlier: tuple[Attempt, ...] = ()
    """Attempts that were over when that runner ended."""

    @property
    def files(self) -> StepLayout:
        return self.context.layout(self.run).step(self.step.index)


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """A step that is over, or was never begun."""

    record: StepRecord
    metrics: MetricsReport
    tree: TreeScan | None = None
    """The workspace afterwards; None if nobody looked."""
    seconds: float = 0.0
    """Wall time it took."""
    notes: tuple[str, ...] = ()
    """What a reader of the record should know besides."""
    interrupted: bool = False
    """Whether it broke because the engine was away or ended, and could not be tried again on its own."""


def perform_step(order: StepOrder) -> StepDone:
    """Perform one step within its own and the run's remaining time, as often as its retry says.

    Returns:
        What it came to. A value that is missing, a text that cannot be filled in: it has failed without an attempt.

    Raises:
        GatewayError: if the gateway cannot open a session.
        StorageError: if what it left cannot be kept.
    """
    run, step = order.run, order.step
    # What an earlier runner began is seen to its end in any case, and keeps its own deadline.
    if order.left is None and order.remaining() <= 0:
        done = _unperformed(run, step, "timed_out", "limits.run_timeout was used up before this step")
        return replace(done, tree=order.place.before)
    order.context.events(StepStarted(time=now(), run=run.id, step=step.id, index=step.index))
    started = time.monotonic()
    done = _perform(order)
    done = replace(done, seconds=time.monotonic() - started)
    order.context.events(
        StepFinished(
            time=now(),
            run=run.id,
            step=step.id,
            index=step.index,
            outcome=done.record.outcome,
            reason=done.record.reason,
            seconds=done.seconds,
        )
    )
    return done


def skip_step(run: Run, step: PlannedStep, reason: str, *, counts: bool = True) -> StepDone:
    """Record a step that was not begun.

    Args:
        run: the run.
        step: the step.
        reason: why, in a sentence.
        counts: whether the run's outcome depends on it.
    """
    return _with(_unperformed(run, step, "skipped", reason), counts=counts)


def break_step(run: Run, step: PlannedStep, reason: str) -> StepDone:
    """Record a step that broke so early or so badly that there is no attempt to tell of."""
    return _unperformed(run, step, "broken", reason)


def spoil_step(done: StepDone, reason: str) -> StepDone:
    """Record a step that had ended, as broken: what it left cannot be taken over. One that broke before keeps its reason."""
    if done.record.outcome == "broken":
        return done
    metrics = replace(done.metrics, totals={**done.metrics.totals, "steps_passed": 0})
    return _with(replace(done, metrics=metrics), outcome="broken", reason=reason)


def cancel_step(run: Run, step: PlannedStep, why: str = BY_USER) -> StepDone:
    """Record a step that could have begun when everything was stopped."""
    return _unperformed(run, step, "cancelled", why)


def fail_step(run: Run, step: PlannedStep, reason: str, conflicts: Sequence[str] = ()) -> StepDone:
    """Record a step that failed before it began: what it needs cannot be had, or steps before it contradict."""
    return _with(_unperformed(run, step, "failed", reason), conflicts=tuple(conflicts))


def decided_step(run: Run, step: PlannedStep, decision: DecisionRecord) -> StepDone:
    """Record an approval that has been decided."""
    approved = decision.decision == "approve"
    words = " ".join(decision.message.split()) or ("nobody answered in time" if decision.by == "timeout" else "")
    reason = "" if approved else f"rejected: {words}" if words else "rejected"
    done = _unperformed(run, step, "passed" if approved else "failed", reason)
    return _with(done, decision=decision, started_at=decision.asked_at, finished_at=decision.decided_at)


def _perform(order: StepOrder) -> StepDone:
    run, step = order.run, order.step
    try:
        if order.left is None:
            ready = make_ready(step, order.values, order.place.workspace)
        else:
            ready = ready_again(step, order.values, order.files)
        if step.kind != "model":
            command(run, ready.step)
    except Unusable as error:
        return replace(fail_step(run, step, error.what), tree=order.place.before)
    attempts, verdict, stuck = _attempts(order, ready)
    return replace(_done(order, ready, attempts, verdict), interrupted=stuck)


def _attempts(order: StepOrder, ready: Ready) -> tuple[list[Attempt], tuple[Outcome, str], bool]:
    """Try until an attempt passes, none is left, or time or the user puts an end to it.

    An attempt that ended with the engine is no try of the framework's, and is made up for besides.

    Returns:
        The attempts, what they come to, and whether one was to be made up for and could not be.
    """
    attempts, left = list(order.earlier), order.left
    before = lost = sum(one.interrupted for one in attempts)
    retry, place = ready.step.retry, order.place
    while True:
        with order.turn(len(attempts) + 1, left.gpus if left is not None else None) as gpus:
            attempt, left = _attempt(order, ready, place, attempts, left, gpus), None
        attempts.append(attempt)
        outcome, tries = attempt.record.outcome, len(attempts) - lost
        free = attempt.interrupted and lost - before < MOST_INTERRUPTED
        if not free and (tries >= retry.attempts or outcome not in retry.on):
            return attempts, (outcome, attempt.record.reason), False
        lost += free
        stopped = _rest(order, 0.0 if free else retry.backoff * 2 ** (tries - 1))
        if stopped is not None:
            reason = f"{stopped[1]} before attempt {len(attempts) + 1}: {attempt.record.reason}"
            return attempts, (stopped[0], reason), False
        try:
            place = order.again()
        except Unrestorable as error:
            return attempts, (outcome, f"{attempt.record.reason}; {error.what}"), free


def _attempt(  # noqa: PLR0917  what an attempt is made of, in one place
    order: StepOrder, ready: Ready, place: Place, earlier: Sequence[Attempt], left: Left | None, gpus: Devices
) -> Attempt:
    timeout, remaining = ready.step.limits.step_timeout, max(order.remaining(), _LEAST)
    attempt = Order(
        context=order.context,
        run=order.run,
        ready=ready,
        place=place,
        number=len(earlier) + 1,
        deadline=min(timeout, remaining),
        deadline_name="limits.step_timeout" if timeout <= remaining else "limits.run_timeout",
        left=left,
        gpus=gpus,
    )
    if left is not None:
        attempt = replace(attempt, deadline=left.begun.deadline, deadline_name=left.begun.deadline_name)
    else:
        write_begun(order.context.layout(order.run), order.step.index, begin_attempt(attempt, earlier))
    return perform_call(attempt) if ready.step.kind == "model" else perform_attempt(attempt)


_LEAST = 0.001
"""Seconds: the shim wants a deadline above 0, and the run's time may end between two looks at it."""


def _rest(order: StepOrder, seconds: float) -> tuple[Outcome, str] | None:
    """Wait before a further attempt; return what came in between, if something did."""
    cancellation, woken = order.context.cancellation, threading.Event()
    if seconds > 0:
        with cancellation.told(woken.set), order.resting():
            woken.wait(min(seconds, max(order.remaining(), 0.0)))
    if cancellation.cancelled:
        return "cancelled", cancellation.why
    if order.remaining() <= 0:
        return "timed_out", "limits.run_timeout was used up"
    return None


def _done(order: StepOrder, ready: Ready, attempts: list[Attempt], verdict: tuple[Outcome, str]) -> StepDone:
    run, step, last = order.run, order.step, attempts[-1]
    files = order.context.layout(run).step(step.index)
    told = last.result.phases if last.result is not None else ()
    phases = tuple(Phase(**phase.model_dump()) for phase in told)
    measured = MeasuredStep(
        step=step.id,
        index=step.index,
        outcome=verdict[0],
        attempts=tuple((one.record, one.usage, one.report, one.totals) for one in attempts),
        tree=last.tree,
        model=_model(run, step),
        phases=phases,
        calls=read_calls(order.context.layout(run).calls).calls if phases else (),
    )
    record = _record(step, *verdict).model_copy(
        update={
            "started_at": attempts[0].record.started_at,
            "finished_at": last.record.finished_at,
            "changed_files": last.changed,
            "phases": phases,
            "attempts": tuple(one.record for one in attempts),
            "inputs": _taken(ready),
            "outputs": keep_values(files.given, last.outputs, files.given.name),
            "answers": tuple(use for one in attempts for use in one.answers),
        }
    )
    return StepDone(
        record=record,
        metrics=step_metrics(measured),
        tree=last.tree,
        notes=tuple(f"step {step.id}: {note}" for note in _notes(attempts)),
    )


def _notes(attempts: list[Attempt]) -> list[str]:
    """Return the notes of all attempts, saying of which where there are several."""
    many = len(attempts) > 1
    notes = [f"attempt {one.record.attempt}: {note}" if many else note for one in attempts for note in one.notes]
    lost = [one.record for one in attempts[:-1] if one.interrupted]
    return notes + [f"attempt {one.attempt} does not count, and was made again: {one.reason}" for one in lost]


def _taken(ready: Ready) -> tuple[ValueRecord, ...]:
    return tuple(
        ValueRecord(
            name=one.name,
            type=one.type,
            path=f"in/{INPUTS_FOLDER}/{one.name}",
            bytes=len(one.data),
            sha256=one.sha256,
        )
        for one in ready.inputs
    )


def _unperformed(run: Run, step: PlannedStep, outcome: Outcome, reason: str) -> StepDone:
    measured = MeasuredStep(
        step=step.id, index=step.index, outcome=outcome, attempts=(), tree=None, model=_model(run, step)
    )
    return StepDone(record=_record(step, outcome, reason), metrics=step_metrics(measured))


def _with(done: StepDone, **changes: object) -> StepDone:
    return replace(done, record=done.record.model_copy(update=changes))


def _model(run: Run, step: PlannedStep) -> Model | None:
    """Return the model that a step can reach."""
    return None if step.network == "none" else run.model


def _record(step: PlannedStep, outcome: Outcome, reason: str) -> StepRecord:
    return StepRecord(
        id=step.id,
        index=step.index,
        title=step.title,
        prompt_sha256=step.prompt_sha256,
        outcome=outcome,
        reason=reason,
        started_at=None,
        finished_at=None,
        changed_files=None,
        kind=step.kind,
        depends_on=step.depends_on,
    )
