"""One run: its steps carried out, each recorded as it ends, and a finished or suspended record whatever happens."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from runner.engine.protocol import Unanswered
from runner.errors import RunnerError, one_line
from runner.events import Event, EventSink, Notice, RunFinished, RunStarted, RunSuspended
from runner.evidence.archive import write_archive
from runner.evidence.atomic import remove_leftovers, sync_disk, sync_files, sync_way, write_json, write_text
from runner.evidence.copying import remove_tree
from runner.evidence.layout import RunLayout
from runner.evidence.measures.completing import write_all
from runner.evidence.readme import not_hermetic, render_readme
from runner.evidence.records import RunRecord, StepRecord
from runner.evidence.runlog import RunLog
from runner.evidence.tree import make_collectable
from runner.evidence.verdicts import read_verdicts
from runner.execution.bulk import too_much_to_archive
from runner.execution.conditions import left_out
from runner.execution.container import prepare_run
from runner.execution.context import Context, iso, now
from runner.execution.copies import excluded
from runner.execution.course import Course
from runner.execution.fork import begin
from runner.execution.graph import drive
from runner.execution.host import describe_host
from runner.execution.judging import judge_run
from runner.execution.outcome import not_performed, outcome_of, tolerated
from runner.execution.resume import Resumed
from runner.execution.story import Clock, Saver, Story, seconds_under_way, write_step
from runner.execution.values import Values
from runner.execution.workspaces import Workspaces
from runner.gateway.labels import model_label
from runner.plan.graph import is_linear
from runner.plan.models import Run
from runner.plan.schedule import Schedule, verdict_of


@dataclass(frozen=True, kw_only=True)
class RunDone:
    """A run that has ended, or waits for people: its record, and its metrics so far."""

    record: RunRecord
    """Without an outcome if it is suspended."""
    totals: Mapping[str, float | int | None]
    """The flat part of its metrics.json."""
    interrupted: bool = False
    """Whether it broke because the engine was away or ended."""


def perform_run(context: Context, run: Run, resumed: Resumed | None = None, *, notes: Sequence[str] = ()) -> RunDone:
    """Carry out a run in its directory, which must not exist yet or be empty, or hold the run that goes on.

    The record exists before the first container; it is finalised even if the engine, the disk or this program fails
    in between, and says so. Evidence comes first, then the record, then the archive.

    Args:
        context: shared hands.
        run: what was planned.
        resumed: what was done before it was suspended or cut off; None for a run that begins.
        notes: what a reader of the record should know besides.

    Returns:
        The run, finished; or suspended, if it waits for people and for nothing else.

    Raises:
        StorageError: if not even the record can be written.
    """
    layout = context.layout(run)
    prepare_run(layout, run)
    record = _new_record(context, run) if resumed is None else _again(context, run, resumed.record)
    story = _story(resumed)
    story.notes += notes
    with RunLog(layout.log) as log:
        context = replace(context, events=_both(log, context.events))
        started = time.monotonic()
        context.events(_started(run, len(story.done), resumed=resumed is not None))
        saver = Saver(layout, record, story)
        saver.save()
        sync_way(layout.root, context.output)
        _perform_steps(context, run, story, saver, resumed)
        if log.problem:
            story.notes.append(f"lines are missing in {layout.log.name}: {log.problem}")
        waits = bool(story.asked) and not story.trouble
        ended = _suspend(context, record, story) if waits else _finalise(context, record, story)
        context.events(_over(run, ended, time.monotonic() - started))
    if ended.record.outcome is not None:
        seal(layout, ended.record)
    return ended


def seal(layout: RunLayout, record: RunRecord) -> None:
    """Write the archive of a finished run, without what a crash left half written; doing it again gives the same bytes.

    Raises:
        StorageError: if it cannot be written.
    """
    remove_leftovers(layout.root)
    if record.archive is not None and record.run.archive != "off":
        write_archive(layout, record.run.archive, exclude=record.run.exclude_files)


def _new_record(context: Context, run: Run) -> RunRecord:
    return RunRecord(
        run=run,
        outcome=None,
        reason="",
        model_label=model_label(run.model),
        started_at=iso(now()) or "",
        finished_at=None,
        host=describe_host(context.info, context.owner.boot),
    )


def _again(context: Context, run: Run, record: RunRecord) -> RunRecord:
    """Return the record of a run that goes on; what it writes from now on it writes under this boot of the machine."""
    host = record.host.model_copy(update={"boot": context.owner.boot})
    return record.model_copy(update={"run": run, "host": host})


def _story(resumed: Resumed | None) -> Story:
    if resumed is None:
        return Story()
    return Story(
        done={one.record.id: one for one in resumed.done},
        asked={one.step: one for one in resumed.record.suspended},
        notes=list(resumed.record.notes),
    )


def _perform_steps(context: Context, run: Run, story: Story, saver: Saver, resumed: Resumed | None) -> None:
    """Carry out every step that can be; what goes wrong with us becomes the story's trouble."""
    records = [one.record for one in story.in_order()]
    begun = resumed.begun if resumed is not None else {}
    cut_off = resumed is not None and resumed.cut_off
    try:
        if not (records or story.asked or cut_off):
            story.notes += begin(context, run)
            saver.save()
        with _brought_together(Workspaces(context, run, records, cut_off=cut_off), story) as workspaces:
            course = Course(
                context=context,
                run=run,
                workspaces=workspaces,
                story=story,
                clock=Clock(run.run_timeout, seconds_under_way(records)),
                save=saver.save,
                begun=begun,
            )
            schedule = _schedule(context.layout(run), run, records)
            drive(schedule, course, context.slots, context.cancellation, inline=is_linear(run.steps))
        if not story.asked:
            story.refused = judge_run(context, run, [one.record for one in story.in_order()])
    except (RunnerError, OSError) as error:
        story.trouble = one_line(error)
        story.interrupted |= isinstance(error, Unanswered)
    except Exception as error:  # noqa: BLE001  the one place that turns an exception into an outcome
        context.events(Notice(time=now(), run=run.id, text=traceback.format_exc(), level="error"))
        story.trouble = f"this program failed: {type(error).__name__}: {error}"


@contextmanager
def _brought_together(workspaces: Workspaces, story: Story) -> Iterator[Workspaces]:
    """Hold a run's workspaces, and merge what steps beside each other changed, unless the run is to go on later."""
    undisturbed = False
    try:
        with workspaces:
            try:
                yield workspaces
                undisturbed = True
            finally:
                if not (undisturbed and story.asked):
                    _merge(workspaces, story)
    finally:
        story.notes += workspaces.notes


def _merge(workspaces: Workspaces, story: Story) -> None:
    """Merge what is left; what goes wrong here does not hide what went wrong before."""
    try:
        conflict = workspaces.finish()
    except (RunnerError, OSError) as error:
        story.notes.append(f"what steps beside each other changed could not be brought together: {one_line(error)}")
        story.trouble = one_line(error)
    else:
        story.conflict = str(conflict) if conflict is not None else ""


def _schedule(layout: RunLayout, run: Run, records: Sequence[StepRecord]) -> Schedule:
    """Return the schedule of a run, with the steps that ended before a suspension taken off it."""
    schedule = Schedule(run.steps, run.parallel)
    steps = {step.id: step for step in run.steps}
    known: dict[str, StepRecord] = {}
    for record in records:
        step = steps[record.id]
        reached = record.id not in {one.id for one, _ in schedule.doomed()}
        # A step that was left out and one that was skipped for it look alike; the condition tells again which it was.
        own = record.outcome == "skipped" and reached and bool(left_out(step, Values(layout, run, known)))
        schedule.end(step.id, verdict_of(step, record.outcome, counts=record.counts, left_out=own))
        known[record.id] = record
    return schedule


def _finalise(context: Context, record: RunRecord, story: Story) -> RunDone:
    run, layout = record.run, context.layout(record.run)
    story.notes += make_collectable(layout.root)
    cut_off = [step.id for step in run.steps if step.id in story.under_way - story.done.keys()]
    story.done |= {one.record.id: one for one in not_performed(run, story)}
    for one in story.in_order():
        if not layout.step(one.record.index).metadata.exists():
            write_step(layout, one)
    steps = [one.record for one in story.in_order()]
    outcome, reason = outcome_of(steps, story.trouble, story.conflict, story.refused)
    unkept = too_much_to_archive(layout, run)
    final = _with_steps(record, story).model_copy(
        update={
            "outcome": outcome,
            "reason": reason,
            "finished_at": iso(now()),
            "suspended": (),
            "artifacts": layout.workspace.name,
            "archive": layout.archive(run.archive).name if run.archive != "off" and not unkept else None,
            "notes": (
                *not_hermetic(run),
                *_notes(story),
                *tolerated(steps),
                *story.notes,
                *excluded(layout, run),
                *unkept,
            ),
        }
    )
    sync_files(layout.calls.parent, layout.bodies)
    done = _written(layout, final, story, cut_off)
    if layout.views.exists():
        remove_tree(layout.views)
    return replace(done, interrupted=story.interrupted and outcome == "broken")


def _suspend(context: Context, record: RunRecord, story: Story) -> RunDone:
    """Leave a run that waits for people so that it can go on, here or after a restart."""
    waiting = story.waiting()
    layout = context.layout(record.run)
    # It may wait for weeks, and over a restart of the machine, with no archive to fall back on.
    sync_disk(layout.root)
    update = {"suspended": waiting, "artifacts": layout.workspace.name, "notes": (*_notes(story), *story.notes)}
    return _written(layout, _with_steps(record, story).model_copy(update=update), story)


def _written(layout: RunLayout, record: RunRecord, story: Story, cut_off: Sequence[str] = ()) -> RunDone:
    """Write metrics, README and, last, the record."""
    steps = [(one.record, one.metrics) for one in story.in_order()]
    metrics = write_all(layout, record.run, steps, cut_off)
    write_text(layout.readme, render_readme(record, metrics, read_verdicts(layout.checks)))
    write_json(layout.metadata, record)
    return RunDone(record=record, totals=metrics.totals)


def _with_steps(record: RunRecord, story: Story) -> RunRecord:
    return record.model_copy(update={"steps": tuple(one.record for one in story.in_order())})


def _notes(story: Story) -> tuple[str, ...]:
    return tuple(note for one in story.in_order() for note in one.notes)


def _both(first: EventSink, second: EventSink) -> EventSink:
    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell


def _started(run: Run, done: int, *, resumed: bool) -> RunStarted:
    return RunStarted(
        time=now(),
        run=run.id,
        framework=run.framework.name,
        scenario=run.scenario,
        repetition=run.repetition,
        steps_total=len(run.steps),
        steps_done=done,
        resumed=resumed,
    )


def _over(run: Run, done: RunDone, seconds: float) -> RunFinished | RunSuspended:
    record = done.record
    if record.outcome is None:
        steps = tuple(one.step for one in record.suspended)
        return RunSuspended(time=now(), run=run.id, steps=steps, seconds=seconds)
    return RunFinished(
        time=now(),
        run=run.id,
        outcome=record.outcome,
        reason=record.reason,
        seconds=seconds,
        metrics=dict(done.totals),
    )
