"""The steps of many runs as one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.report.format import count, duration, size, usd
from runner.report.quality_words import CRUD, LINES, crud_cell, is_judged, lines_cell
from runner.report.results import Metrics, label_notes
from runner.report.tables import Cell, Column, Table, Tone

_COLUMNS = (
    Column(title="run"),
    Column(title="framework"),
    Column(title="#", right=True, rank=4),
    Column(title="step"),
    Column(title="time", right=True, rank=1),
    Column(title="tokens in", right=True, rank=1),
    Column(title="out", right=True, rank=1),
    Column(title="cpu", right=True, rank=6),
    Column(title="peak memory", right=True, rank=2),
    LINES,
    Column(title="cost", right=True, rank=3),
)


@dataclass(frozen=True, kw_only=True)
class RunSteps:
    """A run and the numbers of its steps."""

    run_id: str
    framework: str
    model_label: str
    per_step: Sequence[Mapping[str, Any]]
    """The list of that name in the run's `metrics.json`."""


def steps_table(runs: Iterable[RunSteps]) -> Table:
    """Return one row per step of each run."""
    every = list(runs)
    rows = [(run, step, numbers(step)) for run in every for step in run.per_step]
    judged = is_judged(values for _, _, values in rows)
    return Table(
        columns=(*_COLUMNS, CRUD) if judged else _COLUMNS,
        rows=tuple((*_row(*one), crud_cell(one[2])) if judged else _row(*one) for one in rows),
        notes=tuple(label_notes(run.model_label for run in every)),
    )


def steps_values(runs: Iterable[RunSteps]) -> list[dict[str, object]]:
    """Return the steps as plain values, for `--json`; every metric is there, None where unmeasured."""
    return [
        {"run": run.run_id, "framework": run.framework, "model": run.model_label, **step}
        for run in runs
        for step in run.per_step
    ]


def numbers(values: Mapping[str, Any]) -> Metrics:
    """Return the numbers of a step or run, without what is none."""
    return {
        name: value for name, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _row(run: RunSteps, step: Mapping[str, Any], metrics: Metrics) -> tuple[Cell, ...]:
    return (
        Cell(run.run_id),
        Cell(run.framework, Tone.STRONG),
        Cell(count(metrics.get("index")), Tone.FAINT),
        Cell(str(step.get("step", ""))),
        Cell(duration(metrics.get("wall_seconds"))),
        Cell(count(metrics.get("tokens_in"))),
        Cell(count(metrics.get("tokens_out"))),
        Cell(duration(metrics.get("cpu_seconds"))),
        Cell(size(metrics.get("peak_memory_bytes"))),
        lines_cell(metrics),
        Cell(usd(metrics.get("cost_usd"))),
    )
