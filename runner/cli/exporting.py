"""Gather the metrics of finished runs, and put them into the forms in which analysis scripts read them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.cli.finding import Place, read_metrics, read_record
from runner.errors import ConfigError
from runner.evidence.atomic import write_json
from runner.evidence.judged import whole_verdicts
from runner.evidence.layout import RunLayout
from runner.evidence.measures.again import judged_again
from runner.evidence.measures.seeds import NAMES, manifest, place, seeds_metrics, seeds_values
from runner.evidence.records import METRIC_NAMES, RunRecord
from runner.ledger.store import ledger_path, open_ledger

_WHO = ("run", "experiment", "framework", "scenario", "repetition", "outcome", "model", "started_at", "finished_at")
"""Columns before the metrics."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A finished run and its numbers, with what checks said of it last."""

    record: RunRecord
    metrics: Mapping[str, Any]

    @property
    def who(self) -> dict[str, object]:
        """Return what names the run, by the columns of a table."""
        run = self.record.run
        values = (
            *(run.id, run.experiment, run.framework.name, run.scenario, run.repetition, self.record.outcome),
            *(self.record.model_label, self.record.started_at, self.record.finished_at),
        )
        return dict(zip(_WHO, values, strict=True))

    def values(self, names: str) -> Mapping[str, Any]:
        """Return the metrics under our names, or those of `seeds`; what is not measured is absent or null."""
        return seeds_values(self.metrics) if names == "seeds" else self.metrics


def exported(
    output: Path, *, experiments: Sequence[str], frameworks: Sequence[str], scenarios: Sequence[str]
) -> list[Exported]:
    """Return the finished runs that the ledger knows, by framework, scenario and repetition.

    Args:
        output: folder of runs.
        experiments: only runs of these; empty for all.
        frameworks: only runs of these; empty for all.
        scenarios: only runs of these; empty for all.
    """
    if not ledger_path(output).is_file():
        return []
    with open_ledger(ledger_path(output)) as ledger:
        rows = ledger.rows(experiments=experiments, frameworks=frameworks, scenarios=scenarios)
    found = []
    for row in (row for row in rows if row.outcome is not None):
        layout = RunLayout(output / row.directory)
        record = read_record(Place(framework=row.framework, run_id=row.run_id, layout=layout))
        metrics = judged_again(read_metrics(layout.metrics), whole_verdicts(layout))
        found.append(Exported(record=record, metrics=metrics))
    return found


def csv_lines(runs: Sequence[Exported], names: str) -> Iterator[str]:
    """Yield a table as CSV (RFC 4180): one row per run; a metric that was not measured is empty."""
    columns = NAMES if names == "seeds" else METRIC_NAMES
    yield _line((*_WHO, *columns))
    for one in runs:
        values = one.values(names)
        yield _line("" if cell is None else cell for cell in (*one.who.values(), *map(values.get, columns)))


def documents(runs: Sequence[Exported], names: str) -> list[dict[str, object]]:
    """Return the runs as plain values, each with its steps; with `seeds`, as its `metrics.json` had them."""
    if names == "seeds":
        return [{**seeds_metrics(one.record, one.metrics), "framework": one.record.run.framework.name} for one in runs]
    return [{**one.who, **one.metrics} for one in runs]


def write_folder(folder: str, runs: Sequence[Exported]) -> Path:
    """Write runs in the layout of the earlier experiment: `manifest.json`, `<framework>/<run>/metrics.json`.

    Returns:
        The folder.

    Raises:
        ConfigError: if there is something in it already.
        StorageError: if it cannot be written.
    """
    target = Path(folder).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"there is something at {target}", hint="name a folder that does not exist yet")
    for one in runs:
        file = target / place(one.record) / "metrics.json"
        file.parent.mkdir(parents=True)
        write_json(file, seeds_metrics(one.record, one.metrics))
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / "manifest.json", manifest((one.record, one.metrics) for one in runs))
    return target


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
