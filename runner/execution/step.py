"""One step of a run: its attempts, and what they come to."""

from __future__ import annotations

import time
from dataclasses import dataclass

from runner.events import StepFinished, StepStarted
from runner.evidence.metrics import MeasuredStep, MetricsReport, step_metrics
from runner.evidence.records import Outcome, Phase, StepRecord
from runner.evidence.tree import TreeScan
from runner.execution.attempt import Attempt, Order, perform_attempt
from runner.execution.context import Context, now
from runner.plan.models import PlannedStep, Run
from runner.spec.model import Model


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """A step that is over, or was never begun."""

    record: StepRecord
    measured: MeasuredStep
    metrics: MetricsReport
    tree: TreeScan | None
    """The workspace afterwards; None if nobody looked."""
    seconds: float
    """Wall time it took of the run's budget."""
    notes: tuple[str, ...] = ()
    """What a reader of the record should know besides."""


def perform_step(context: Context, run: Run, step: PlannedStep, before: TreeScan, remaining: float) -> StepDone:
    """Perform one step within its own and the run's remaining time.

    Args:
        context: shared hands.
        run: the run.
        step: the step.
        before: the workspace as the step finds it.
        remaining: seconds left of limits.run_timeout.
    """
    if remaining <= 0:
        return _unperformed(run, step, "timed_out", "limits.run_timeout was used up before this step", before)
    context.events(StepStarted(time=now(), run=run.id, step=step.id, index=step.index))
    started = time.monotonic()
    by_step = step.limits.step_timeout <= remaining
    order = Order(
        context=context,
        run=run,
        step=step,
        number=1,
        deadline=min(step.limits.step_timeout, remaining),
        deadline_name="limits.step_timeout" if by_step else "limits.run_timeout",
    )
    attempt = perform_attempt(order, before)
    seconds = time.monotonic() - started
    done = _done(run, step, [attempt], seconds)
    context.events(
        StepFinished(
            time=now(),
            run=run.id,
            step=step.id,
            index=step.index,
            outcome=done.record.outcome,
            reason=done.record.reason,
            seconds=seconds,
        )
    )
    return done


def skip_step(run: Run, step: PlannedStep, reason: str, before: TreeScan | None) -> StepDone:
    """Record a step that was not begun."""
    return _unperformed(run, step, "skipped", reason, before)


def break_step(run: Run, step: PlannedStep, reason: str, before: TreeScan | None) -> StepDone:
    """Record a step that broke so early or so badly that there is no attempt to tell of."""
    return _unperformed(run, step, "broken", reason, before)


def _done(run: Run, step: PlannedStep, attempts: list[Attempt], seconds: float) -> StepDone:
    last = attempts[-1]
    measured = MeasuredStep(
        step=step.id,
        index=step.index,
        outcome=last.record.outcome,
        attempts=tuple((one.record, one.usage, one.report, one.totals) for one in attempts),
        tree=last.tree,
        model=_model(run, step),
    )
    phases = last.result.phases if last.result is not None else ()
    record = _record(step, last.record.outcome, last.record.reason).model_copy(
        update={
            "started_at": attempts[0].record.started_at,
            "finished_at": last.record.finished_at,
            "changed_files": last.changed,
            "phases": tuple(Phase(**phase.model_dump()) for phase in phases),
            "attempts": tuple(one.record for one in attempts),
        }
    )
    return StepDone(
        record=record,
        measured=measured,
        metrics=step_metrics(measured),
        tree=last.tree,
        seconds=seconds,
        notes=tuple(f"step {step.id}: {note}" for one in attempts for note in one.notes),
    )


def _unperformed(run: Run, step: PlannedStep, outcome: Outcome, reason: str, before: TreeScan | None) -> StepDone:
    measured = MeasuredStep(
        step=step.id, index=step.index, outcome=outcome, attempts=(), tree=before, model=_model(run, step)
    )
    return StepDone(
        record=_record(step, outcome, reason),
        measured=measured,
        metrics=step_metrics(measured),
        tree=before,
        seconds=0.0,
    )


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
    )
