"""Tables of one run: its steps, and their attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from runner.evidence.records import AttemptRecord, RunRecord, StepRecord
from runner.plan.graph import dependencies, is_linear
from runner.plan.models import PlannedStep
from runner.report.format import DASH, count, duration, size, usd
from runner.report.quality_words import CRUD, LINES, crud_cell, is_judged, lines_cell
from runner.report.results import Metrics
from runner.report.step_notes import step_notes, values_words
from runner.report.tables import Cell, Column, Table, Tone, outcome_cell

_STEP_COLUMNS = (
    Column(title="#", right=True),
    Column(title="step"),
    Column(title="outcome"),
    Column(title="time", right=True, rank=1),
    Column(title="attempts", right=True, rank=5),
    Column(title="calls", right=True, rank=4),
    Column(title="tokens in", right=True, rank=1),
    Column(title="out", right=True, rank=1),
    Column(title="cached", right=True, rank=7),
    Column(title="reasoning", right=True, rank=9),
    Column(title="in calls", right=True, rank=8),
    Column(title="waiting", right=True, rank=8),
    Column(title="cpu", right=True, rank=3),
    Column(title="peak memory", right=True, rank=2),
    Column(title="files changed", right=True, rank=3),
    LINES,
    Column(title="cost", right=True, rank=6),
)
_ATTEMPT_COLUMNS = (
    Column(title="step"),
    Column(title="attempt", right=True),
    Column(title="outcome"),
    Column(title="time", right=True, rank=1),
    Column(title="exit", right=True),
    Column(title="signal", right=True, rank=2),
    Column(title="out of memory", rank=1),
    Column(title="output", right=True, rank=2),
    Column(title="dropped", right=True, rank=3),
    Column(title="container", rank=4),
)


def step_table(record: RunRecord, per_step: Iterable[Mapping[str, object]]) -> Table:
    """Return one row per planned step; a step that was not reached has dashes.

    Args:
        record: the run.
        per_step: the list of that name in the run's `metrics.json`.
    """
    known = {step.index: step for step in record.steps}
    numbers = {str(one.get("step")): _numbers(one) for one in per_step}
    waiting = {one.index for one in record.suspended}
    rows = [
        _step_row(planned, known.get(planned.index), numbers.get(planned.id, {}), waits=planned.index in waiting)
        for planned in record.run.steps
    ]
    columns: tuple[Column, ...] = _STEP_COLUMNS
    if is_judged(numbers.values()):
        columns = (*columns, CRUD)
        rows = [
            (*row, crud_cell(numbers.get(planned.id, {}))) for planned, row in zip(record.run.steps, rows, strict=True)
        ]
    if not is_linear(record.run.steps):
        after = dependencies(record.run.steps)
        columns = (*columns[:2], Column(title="after", rank=2, folds=16), *columns[2:])
        rows = [
            (*row[:2], Cell(", ".join(after[planned.id]) or DASH), *row[2:])
            for planned, row in zip(record.run.steps, rows, strict=True)
        ]
    taken = [f"{step.id}: {words}" for step in record.steps if (words := values_words(step))]
    return Table(columns=columns, rows=tuple(rows), notes=(*step_notes(record), *taken))


def _numbers(values: Mapping[str, object]) -> Metrics:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _step_row(planned: PlannedStep, step: StepRecord | None, metrics: Metrics, *, waits: bool) -> tuple[Cell, ...]:
    seconds = metrics.get("wall_seconds")
    return (
        Cell(str(planned.index), Tone.FAINT),
        Cell(planned.id, Tone.STRONG),
        outcome_cell(step.outcome if step else None, "waits for approval" if waits else "not reached"),
        Cell(duration(seconds)),
        Cell(count(len(step.attempts)) if step else DASH),
        Cell(count(metrics.get("api_calls"))),
        Cell(count(metrics.get("tokens_in"))),
        Cell(count(metrics.get("tokens_out"))),
        Cell(count(metrics.get("tokens_cached"))),
        Cell(count(metrics.get("tokens_reasoning"))),
        Cell(duration(metrics.get("call_seconds"))),
        Cell(duration(metrics.get("waiting_seconds"))),
        Cell(duration(metrics.get("cpu_seconds"))),
        Cell(size(metrics.get("peak_memory_bytes"))),
        Cell(count(step.changed_files) if step else DASH),
        lines_cell(metrics),
        Cell(usd(metrics.get("cost_usd"))),
    )


def attempt_table(steps: Sequence[StepRecord]) -> Table:
    """Return one row per container of a run."""
    rows = tuple(_attempt_row(step, attempt) for step in steps for attempt in step.attempts)
    return Table(columns=_ATTEMPT_COLUMNS, rows=rows)


def _attempt_row(step: StepRecord, attempt: AttemptRecord) -> tuple[Cell, ...]:
    both = (attempt.stdout_bytes, attempt.stderr_bytes)
    written = None if None in both else sum(one for one in both if one is not None)
    return (
        Cell(step.id),
        Cell(str(attempt.attempt)),
        outcome_cell(attempt.outcome),
        Cell(duration(attempt.seconds)),
        Cell(DASH if attempt.exit_code is None else str(attempt.exit_code)),
        Cell("" if attempt.signal is None else str(attempt.signal)),
        Cell("yes" if attempt.oom_killed else "", Tone.BAD),
        Cell(size(written)),
        Cell(size(attempt.dropped_bytes) if attempt.dropped_bytes else ""),
        Cell(attempt.container, Tone.FAINT),
    )
