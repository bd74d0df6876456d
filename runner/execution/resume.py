"""Take up a suspended run where it stopped: what its steps came to is read from disk."""

from __future__ import annotations

from dataclasses import dataclass

from runner.engine.protocol import Usage
from runner.evidence.layout import RunLayout
from runner.evidence.metrics import RESOURCES, MeasuredStep, MetricsReport, read_metrics, step_metrics
from runner.evidence.records import RunRecord, StepRecord
from runner.execution.context import Context
from runner.execution.step import StepDone
from runner.gateway.calls import read_calls, totals

_LOST = "the step's metrics.json cannot be read"


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A run that is gone on with."""

    record: RunRecord
    """As it was written when the run was suspended; its notes are those of the steps in `done`."""
    done: tuple[StepDone, ...]
    """Steps that have ended, by position; their notes stand in the record."""


def reload(context: Context, layout: RunLayout, record: RunRecord) -> Resumed:  # noqa: ARG001  part of the seam
    """Read what the steps of a suspended run came to.

    Args:
        context: shared hands.
        layout: where the run is.
        record: its record, without an outcome.
    """
    done = tuple(
        StepDone(record=step, metrics=step_report(layout, record, step))
        for step in sorted(record.steps, key=lambda one: one.index)
    )
    return Resumed(record=record, done=done)


def step_report(layout: RunLayout, record: RunRecord, step: StepRecord) -> MetricsReport:
    """Return a step's metrics as they were written; if that file is lost, what its record and the gateway know.

    Args:
        layout: where the run is.
        record: the run's record.
        step: a step of it that has ended.
    """
    found = read_metrics(layout.step(step.index).metrics)
    return found if found is not None else step_metrics(_measured(layout, record, step))


def _measured(layout: RunLayout, record: RunRecord, step: StepRecord) -> MeasuredStep:
    unread = Usage(reasons=dict.fromkeys(RESOURCES, _LOST))
    own = [call for call in read_calls(layout.calls).calls if call.step == step.id]
    return MeasuredStep(
        step=step.id,
        index=step.index,
        outcome=step.outcome,
        attempts=tuple(
            (
                one,
                unread,
                None,
                totals(call for call in own if call.attempt == one.attempt) if record.run.model else None,
            )
            for one in step.attempts
        ),
        tree=None,
        model=record.run.model,
    )
