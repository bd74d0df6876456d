"""One run: steps in order, each recorded as it ends, and a finished record whatever happens."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from runner.errors import EngineError, RunnerError
from runner.events import Event, EventSink, Notice, RunFinished, RunStarted
from runner.evidence.archive import write_archive
from runner.evidence.atomic import write_json, write_text
from runner.evidence.layout import RunLayout
from runner.evidence.metrics import run_metrics, write_metrics
from runner.evidence.readme import not_hermetic, render_readme
from runner.evidence.records import Outcome, RunRecord, StepRecord
from runner.evidence.runlog import RunLog
from runner.evidence.tree import make_collectable, scan
from runner.execution.container import prepare_run
from runner.execution.context import Context, iso, now
from runner.execution.history import keep_step
from runner.execution.host import describe_host
from runner.execution.step import StepDone, break_step, perform_step, skip_step
from runner.gateway.labels import model_label
from runner.names import LABEL_DIGEST, LABEL_KIND, LABEL_RUN, LABEL_RUN_DIR
from runner.plan.models import Run


@dataclass(frozen=True, kw_only=True)
class RunDone:
    """A finished run: its final record and its metrics."""

    record: RunRecord
    totals: Mapping[str, float | int | None]
    """The flat part of its metrics.json."""


@dataclass(kw_only=True)
class _Story:
    """What has happened in a run so far, filled in as it goes on, so that whatever breaks loses nothing before it."""

    done: list[StepDone] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    trouble: str = ""
    """What broke us; empty if nothing did."""


def perform_run(context: Context, run: Run) -> RunDone:
    """Carry out a run in its directory, which must not exist yet or be empty.

    The record exists before the first container; it is finalised even if the engine, the disk or this program fails
    in between, and says so. Evidence comes first, then the record, then the archive.

    Raises:
        StorageError: if not even the record can be written.
    """
    layout = context.layout(run)
    prepare_run(layout, run)
    record = RunRecord(
        run=run,
        outcome=None,
        reason="",
        model_label=model_label(run.model),
        started_at=iso(now()) or "",
        finished_at=None,
        host=describe_host(context.info),
    )
    write_json(layout.metadata, record)
    with RunLog(layout.log) as log:
        context = dataclasses.replace(context, events=_both(log, context.events))
        started = time.monotonic()
        context.events(_started(run))
        story = _Story()
        _perform_steps(context, run, record, story)
        if log.problem:
            story.notes.append(f"lines are missing in {layout.log.name}: {log.problem}")
        finished = _finalise(context, record, story)
        context.events(_finished(run, finished, time.monotonic() - started))
    seal(layout, finished.record)
    return finished


def seal(layout: RunLayout, record: RunRecord) -> None:
    """Write the archive of a finished run; doing it again gives the same bytes."""
    if record.run.archive != "off":
        write_archive(layout, record.run.archive)


def _perform_steps(context: Context, run: Run, record: RunRecord, story: _Story) -> None:
    """Perform every step, updating the record on disk after each."""
    layout, done = context.layout(run), story.done
    try:
        with _workspace(context, run, story):
            remaining = run.run_timeout
            for step in run.steps:
                before = (done[-1].tree if done else None) or scan(layout.workspace)
                stopped = done[-1].record if done and done[-1].record.outcome != "passed" else None
                one = (
                    skip_step(run, step, f"step {stopped.id} did not pass", before)
                    if stopped
                    else perform_step(context, run, step, before, remaining)
                )
                remaining -= one.seconds
                done.append(one)
                keep_step(layout, run, one, story.notes)
                _write_step(layout, one)
                write_json(layout.metadata, record.model_copy(update={"steps": tuple(d.record for d in done)}))
    except (RunnerError, OSError) as error:
        story.trouble = str(error)
    except Exception as error:  # noqa: BLE001  the one place that turns an exception into an outcome
        context.events(Notice(time=now(), run=run.id, text=traceback.format_exc(), level="error"))
        story.trouble = f"this program failed: {type(error).__name__}: {error}"


@contextmanager
def _workspace(context: Context, run: Run, story: _Story) -> Iterator[None]:
    """Hold the run's volume: a named, labelled volume over its workspace folder.

    One that cannot be removed is noted and left to the next start: it changes neither an outcome nor hides an error.
    """
    layout, name = context.layout(run), context.object_name(run)
    labels = {
        **context.owner.labels(),
        LABEL_KIND: "workspace",
        LABEL_RUN: run.id,
        LABEL_DIGEST: run.digest or "",
        LABEL_RUN_DIR: str(layout.root),
    }
    context.engine.volumes.create(name, device=str(layout.workspace), labels=labels)
    try:
        yield
    finally:
        try:
            context.engine.volumes.remove(name)
        except EngineError as error:
            story.notes.append(f"volume {name} is still in the engine: {error}")


def _finalise(context: Context, record: RunRecord, story: _Story) -> RunDone:
    run, layout = record.run, context.layout(record.run)
    story.notes += make_collectable(layout.root)
    missing = _not_performed(run, story)
    for one in missing:
        _write_step(layout, one)
    steps = [*story.done, *missing]
    outcome, reason = _verdict([one.record for one in steps], story.trouble)
    metrics = run_metrics([one.measured for one in steps], scan(layout.workspace))
    final = record.model_copy(
        update={
            "outcome": outcome,
            "reason": reason,
            "finished_at": iso(now()),
            "steps": tuple(one.record for one in steps),
            "artifacts": layout.workspace.name,
            "archive": layout.archive(run.archive).name if run.archive != "off" else None,
            "notes": (*not_hermetic(run), *(note for one in steps for note in one.notes), *story.notes),
        }
    )
    write_metrics(layout.metrics, metrics)
    write_text(layout.readme, render_readme(final, metrics))
    write_json(layout.metadata, final)
    return RunDone(record=final, totals=metrics.totals)


def _not_performed(run: Run, story: _Story) -> list[StepDone]:
    """Record the steps that something broke: the one it broke in, and those after it."""
    tree = story.done[-1].tree if story.done else None
    first, *rest = run.steps[len(story.done) :] or (None,)
    if first is None:
        return []
    return [
        break_step(run, first, story.trouble, tree),
        *(skip_step(run, step, f"step {first.id} did not pass", tree) for step in rest),
    ]


def _verdict(steps: list[StepRecord], trouble: str) -> tuple[Outcome, str]:
    """Return the run's outcome: that of the first step that did not pass."""
    if trouble:
        return "broken", trouble
    for step in steps:
        if step.outcome != "passed":
            return step.outcome, f"step {step.id}: {step.reason}"
    return "passed", ""


def _write_step(layout: RunLayout, done: StepDone) -> None:
    files = layout.step(done.record.index)
    files.root.mkdir(parents=True, exist_ok=True)
    write_json(files.metadata, done.record)
    write_metrics(files.metrics, done.metrics)


def _both(first: EventSink, second: EventSink) -> EventSink:
    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell


def _started(run: Run) -> RunStarted:
    return RunStarted(
        time=now(),
        run=run.id,
        framework=run.framework.name,
        scenario=run.scenario,
        repetition=run.repetition,
        steps_total=len(run.steps),
    )


def _finished(run: Run, done: RunDone, seconds: float) -> RunFinished:
    return RunFinished(
        time=now(),
        run=run.id,
        outcome=done.record.outcome or "broken",
        reason=done.record.reason,
        seconds=seconds,
        metrics=dict(done.totals),
    )
