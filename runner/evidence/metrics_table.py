"""`metrics.csv`: every metric of a run, its steps, their attempts and phases as one long table (RFC 4180, UTF-8)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from runner.evidence.atomic import write_bytes
from runner.evidence.metrics import MetricsReport, Row
from runner.evidence.records import METRIC_NAMES, StepRecord

COLUMNS = (
    *("level", "step", "index", "attempt", "phase", "metric"),
    *("value", "unit", "source", "exact", "status", "reason"),
)
"""level is run, step, attempt or phase; what does not apply is empty, and so is a value that was not measured."""


def write_table(path: Path, run: MetricsReport, steps: Sequence[tuple[StepRecord, MetricsReport]]) -> None:
    """Write the table of a run.

    Args:
        path: where it goes.
        run: the run's metrics.
        steps: every step in order, with its metrics.

    Raises:
        StorageError: if it cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(_rows(run, steps))
    write_bytes(path, text.getvalue().encode("utf-8", "backslashreplace"))


def _rows(run: MetricsReport, steps: Iterable[tuple[StepRecord, MetricsReport]]) -> Iterator[tuple[object, ...]]:
    yield from _report(("run", "", "", "", ""), run)
    for step, report in steps:
        place = (step.id, step.index)
        yield from _report(("step", *place, "", ""), report)
        for one in report.per_attempt:
            yield from _part(("attempt", *place, one.get("attempt", ""), ""), one)
        last = step.attempts[-1].attempt if step.attempts else ""
        for one in report.per_phase:
            yield from _part(("phase", *place, last, one.get("phase", "")), one)


def _report(head: tuple[object, ...], report: MetricsReport) -> Iterator[tuple[object, ...]]:
    for name in METRIC_NAMES:
        yield (*head, name, *_cells(report.totals[name], report.about[name].model_dump()))


def _part(head: tuple[object, ...], row: Row) -> Iterator[tuple[object, ...]]:
    told = row.get("about")
    for name, about in told.items() if isinstance(told, Mapping) else ():
        yield (*head, name, *_cells(row.get(name), about))


def _cells(value: object, about: Mapping[str, object]) -> tuple[object, ...]:
    exact = "yes" if about["exact"] else "no"
    return ("" if value is None else value, about["unit"], about["source"], exact, about["status"], about["reason"])
