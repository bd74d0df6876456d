"""Take up a run where it stopped, suspended or cut off: what its steps came to is read from disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.engine.protocol import Usage
from runner.evidence.atomic import remove_leftovers
from runner.evidence.layout import RunLayout
from runner.evidence.metrics import RESOURCES, MeasuredStep, MetricsReport, read_metrics, step_metrics
from runner.evidence.records import RunRecord, StepRecord
from runner.execution.approvals import posted
from runner.execution.begun import Begun, read_begun
from runner.execution.blocks import merging_mark
from runner.execution.context import Context
from runner.execution.step import StepDone
from runner.gateway.calls import read_calls, totals
from runner.plan.models import Run

_DONE_AGAIN = frozenset({"broken", "cancelled"})
"""Outcomes of a step after which there is nothing to go on with: the run is done again."""
_LOST = "the step's metrics.json cannot be read"


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A run that is gone on with."""

    record: RunRecord
    """As it was written last; its notes are those of the steps in `done`."""
    done: tuple[StepDone, ...]
    """Steps that have ended, by position; their notes stand in the record."""
    begun: Mapping[str, Begun] = field(default_factory=dict)
    """What was under way when its runner ended, by step."""
    cut_off: bool = False
    """Whether its runner ended; else it was suspended."""


def cut_off(context: Context, run: Run) -> Resumed | None:
    """Return a run that can go on where the runner that carried it out ended.

    Args:
        context: shared hands.
        run: what is planned; what is on disk has to be the same.

    Returns:
        None if there is no such run, or it has to be done again from its first step.
    """
    layout = context.layout(run)
    record = read_record(layout)
    if record is None or record.run.digest != run.digest or not goes_on(layout, record, context.owner.boot):
        return None
    remove_leftovers(layout.root)
    ended = ended_steps(layout, record)
    done = {one.id for one in ended}
    waiting = [posted(layout, one.index) for one in run.steps if one.kind == "approval" and one.id not in done]
    asked = tuple(one for one in waiting if one is not None)
    record = record.model_copy(update={"steps": ended, "suspended": asked})
    return Resumed(
        record=record,
        done=reload(context, layout, record).done,
        begun=under_way(layout, record, ended),
        cut_off=True,
    )


def at_work(context: Context, run: Run) -> tuple[str, ...]:
    """Return the containers of a run that goes on in which a runner that has ended left it, at work or to be collected."""
    layout = context.layout(run)
    if not layout.views.is_dir():
        return ()
    record = read_record(layout)
    if record is None or record.run.digest != run.digest or not goes_on(layout, record, context.owner.boot):
        return ()
    found = under_way(layout, record, ended_steps(layout, record)).values()
    return tuple(one.container for one in found if one.container)


def goes_on(layout: RunLayout, record: RunRecord, boot: str) -> bool:
    """Tell whether a run that was cut off goes on at the step where it was.

    It does not if a step of it is to be done again anyway, if views were half merged, if it may not have got all that
    it begins with, or if the machine was started again since: what steps had written may not have reached the disk then.

    Args:
        layout: where the run is.
        record: its record.
        boot: the machine's boot now.
    """
    if record.outcome is not None or record.suspended or merging_mark(layout).exists():
        return False
    if record.host.boot not in {"", boot}:
        return False
    ended = {one.id: one for one in ended_steps(layout, record)}
    begun = {one.id: found for one in record.run.steps if (found := read_begun(layout, one.index)) is not None}
    if any(one.outcome in _DONE_AGAIN for one in ended.values()) or any(one.boot != boot for one in begun.values()):
        return False
    # Of a step that left something there has to be known what it had found.
    unknown = [one for one in record.run.steps if one.id not in {*ended, *begun}]
    if any(layout.step(one.index).root.exists() for one in unknown):
        return False
    return bool(ended or begun) or (record.run.parent is None and record.run.start is None)


def goes_on_at(layout: RunLayout, boot: str) -> str:
    """Return the step at which a run that was cut off goes on; empty if it does not."""
    record = read_record(layout)
    if record is None or not goes_on(layout, record, boot):
        return ""
    ended = ended_steps(layout, record)
    done, begun = {one.id for one in ended}, under_way(layout, record, ended)
    left = [one.id for one in record.run.steps if one.id not in done]
    return ", ".join(one for one in left if one in begun) or (left[0] if left else "its end")


def under_way(layout: RunLayout, record: RunRecord, ended: Iterable[StepRecord]) -> Mapping[str, Begun]:
    """Return what had begun and not ended, by step."""
    done = {one.id for one in ended}
    found = {one.id: read_begun(layout, one.index) for one in record.run.steps if one.id not in done}
    return {name: one for name, one in found.items() if one is not None}


def ended_steps(layout: RunLayout, record: RunRecord) -> tuple[StepRecord, ...]:
    """Return the steps that have ended: the record of a large run may lag behind those of its steps."""
    known = {step.id: step for step in record.steps}
    for planned in record.run.steps:
        if planned.id not in known and (found := _read_step(layout.step(planned.index).metadata)) is not None:
            known[found.id] = found
    return tuple(sorted(known.values(), key=lambda one: one.index))


def read_record(layout: RunLayout) -> RunRecord | None:
    """Return the record of a run directory, or None if there is none that can be read."""
    try:
        return RunRecord.model_validate_json(layout.metadata.read_bytes())
    except (OSError, ValueError):
        return None


def _read_step(path: Path) -> StepRecord | None:
    try:
        return StepRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


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
