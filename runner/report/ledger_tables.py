"""Tables of what the ledger knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType

from runner.ledger.rows import LedgerRow
from runner.report.format import count, duration, plural, size, usd
from runner.report.quality_words import CRUD, crud_cell, is_judged
from runner.report.results import RunFacts, label_notes
from runner.report.tables import Cell, Column, Table, Tone, outcome_cell
from runner.report.waiting import asked_words, waiting_lines

_COLUMNS = (
    Column(title="run"),
    Column(title="framework"),
    Column(title="outcome"),
    Column(title="steps", right=True, rank=3),
    Column(title="wall", right=True, rank=3),
    Column(title="tokens in", right=True, rank=4),
    Column(title="out", right=True, rank=4),
    Column(title="peak memory", right=True, rank=5),
    Column(title="cost", right=True, rank=6),
    Column(title="model", rank=2),
    Column(title="finished", rank=5),
    Column(title="reason", rank=1, folds=24),
)
_EXPLAINED = 100
"""Runs of a list whose questions are spelt out below it."""
_MINUTES = 16
"""Characters of an ISO 8601 time up to its minutes."""


_STATES = {"planned": "planned", "leased": "started", "suspended": "waits for approval", "done": "unfinished"}
"""States of the ledger, as a person reads them; an outcome says more than `done`."""


def runs_table(
    rows: Sequence[LedgerRow],
    counts: Mapping[str, int] | None = None,
    checks: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """Return one row per run, and below it how many there are of each outcome.

    Args:
        rows: the runs that are shown.
        counts: how many there are in all, as the ledger counts them; by default those that are shown.
        checks: what checks came to in a few words, by run directory; a column only if there is any.
    """
    counted = Counter(row.outcome or row.state for row in rows) if counts is None else counts
    total = sum(counted.values())
    each = ", ".join(f"{number:,} {_STATES.get(name, name).replace('_', ' ')}" for name, number in counted.items())
    notes = [f"{plural(total, 'run')}: {each}"]
    if len(rows) < total:
        notes.append(f"shown are the {len(rows):,} that began last; --limit N or --all shows more, a filter others")
    notes += label_notes(row.model_label for row in rows)
    notes += [f"{row.directory}: {line}" for row in rows[:_EXPLAINED] for line in _decide(row)]
    table = Table(columns=_COLUMNS, rows=tuple(_row(row) for row in rows), notes=tuple(notes))
    if is_judged(row.metrics for row in rows):
        table = _with(table, CRUD, [crud_cell(row.metrics) for row in rows])
    if not checks:
        return table
    return _with(table, Column(title="checks", rank=3), [Cell(checks.get(row.directory, "")) for row in rows])


def _with(table: Table, column: Column, cells: Sequence[Cell]) -> Table:
    """Return a table with one more column, before its last one, the reason."""
    return replace(
        table,
        columns=(*table.columns[:-1], column, table.columns[-1]),
        rows=tuple((*old[:-1], cell, old[-1]) for old, cell in zip(table.rows, cells, strict=True)),
    )


def _decide(row: LedgerRow) -> list[str]:
    return waiting_lines(row.directory, row.waits_for) if row.waits_for else []


def _why(row: LedgerRow) -> str:
    """Write why a run ended as it did, or what it waits for, and what it was forked from."""
    why = row.reason or asked_words(row.waits_for)
    forked = f"forked from {row.forked_from}" if row.forked_from else ""
    return " ".join("; ".join(part for part in (why, forked) if part).split())


def _row(row: LedgerRow) -> tuple[Cell, ...]:
    metrics = row.metrics
    passed, total = metrics.get("steps_passed"), metrics.get("steps_total")
    return (
        Cell(row.run_id),
        Cell(row.framework, Tone.STRONG),
        outcome_cell(row.outcome, _STATES[row.state]),
        Cell(f"{count(passed)}/{count(total)}" if metrics else ""),
        Cell(duration(metrics.get("wall_seconds"))),
        Cell(count(metrics.get("tokens_in"))),
        Cell(count(metrics.get("tokens_out"))),
        Cell(size(metrics.get("peak_memory_bytes"))),
        Cell(usd(metrics.get("cost_usd"))),
        Cell(row.model_label),
        Cell((row.finished_at or "")[:_MINUTES].replace("T", " "), Tone.FAINT),
        Cell(_why(row)),
    )


def row_values(row: LedgerRow) -> dict[str, object]:
    """Return a row as plain values, for `--json`."""
    return {**asdict(row), "waits_for": [one.model_dump(mode="json") for one in row.waits_for]}


def facts_of(row: LedgerRow, model_label: str) -> RunFacts:
    """Return what the result table needs of a run; an unfinished one carries the planned model's label."""
    return RunFacts(
        run_id=row.run_id,
        framework=row.framework,
        scenario=row.scenario,
        repetition=row.repetition,
        outcome=row.outcome,
        reason=row.reason,
        model_label=row.model_label or model_label,
        metrics=row.metrics,
        waits_for=tuple(one.step for one in row.waits_for),
        forked_from=row.forked_from,
    )
