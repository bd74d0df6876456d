"""What `runner show` says of a run: a heading, its steps, its attempts, and where to look closer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.evidence.measures.again import judged_again
from runner.evidence.records import RunRecord
from runner.evidence.verdicts import CheckVerdict
from runner.plan.models import Run
from runner.report.check_tables import checks_table, checks_words, not_passed
from runner.report.format import count, duration, size, usd
from runner.report.quality_words import changes_words, quality_words
from runner.report.run_tables import attempt_table, step_table
from runner.report.tables import Cell, Table, Tone, outcome_cell

Block = Table | tuple[Cell, ...]
"""A table, or the pieces of one line."""


def run_page(
    record: RunRecord, metrics: Mapping[str, Any], directory: str, verdicts: Sequence[CheckVerdict] = ()
) -> Iterable[Block]:
    """Yield the lines and tables that describe a run.

    Args:
        record: the run's `metadata.json`.
        metrics: the run's `metrics.json`, empty while there is none.
        directory: where the evidence is.
        verdicts: what checks said of what was built, the newest of each.
    """
    run = record.run
    yield (
        Cell(f"{run.framework.name} on {run.scenario}, repetition {run.repetition}: ", Tone.STRONG),
        outcome_cell(record.outcome, "waits for approval" if record.suspended else "not finished"),
    )
    if record.reason:
        yield (Cell(f"  {record.reason}"),)
    yield from (_fact(name, value) for name, value in _facts(record))
    yield ()
    metrics = judged_again(metrics, verdicts)
    yield step_table(record, metrics.get("per_step") or ())
    yield ()
    yield (Cell(f"in all: {_totals(metrics)}" if metrics else "numbers follow when the run has finished"),)
    if metrics:
        yield (Cell(f"model: {_model_use(metrics)}"),)
        yield from ((Cell(f"{what}: {words}"),) for what, words in _came_about(metrics) if words)
    yield from ((Cell(f"  {line}", Tone.FAINT),) for line in _unmeasured(metrics))
    if verdicts:
        yield ()
        yield (Cell(f"checks: {checks_words(verdicts)}"),)
        yield checks_table(verdicts)
        yield from ((Cell(f"  {line}", Tone.FAINT),) for line in not_passed(verdicts))
    if sum(len(step.attempts) for step in record.steps) > len(record.steps) or record.outcome not in {"passed", None}:
        yield ()
        yield attempt_table(record.steps)
    yield ()
    yield _fact("evidence", directory)
    yield from ((Cell(f"  note: {note}", Tone.WARN),) for note in record.notes)
    last = next((step.id for step in reversed(record.steps) if step.attempts), "")
    yield _fact("look closer", f"runner logs {run.framework.name}/{run.id}{f'@{last}' if last else ''}")


def _fact(name: str, value: str) -> tuple[Cell, ...]:
    return (Cell(f"  {name:<12}", Tone.FAINT), Cell(value))


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    run = record.run
    facts = [
        ("run", run.id),
        *_ancestry(run),
        ("model", record.model_label),
        ("image", f"{run.image.tag} {run.image.id or ''}".strip()),
        ("seed", str(run.seed)),
        ("started", record.started_at),
    ]
    if record.finished_at:
        facts.append(("finished", record.finished_at))
    if record.archive:
        digest = "with its sha256 beside it"
        facts.append(("archive", f"{record.archive} {digest}"))
    return facts


def _ancestry(run: Run) -> list[tuple[str, str]]:
    """Return what a forked run goes on from."""
    if run.parent is None:
        return []
    note = f": {run.parent.note}" if run.parent.note else ""
    return [("forked from", f"{run.parent.run}@{run.parent.step}{note}")]


def _totals(metrics: Mapping[str, Any]) -> str:
    written = (
        duration(metrics.get("wall_seconds")),
        f"cpu {duration(metrics.get('cpu_seconds'))}",
        f"peak memory {size(metrics.get('peak_memory_bytes'))}",
        f"artifact files {count(metrics.get('artifact_files'))}, {size(metrics.get('artifact_bytes'))}",
    )
    return ", ".join(written)


def _model_use(metrics: Mapping[str, Any]) -> str:
    """Return what the calls of a run come to: tokens and their kinds, time, cost."""
    kinds = f"{count(metrics.get('tokens_cached'))} of them cached"
    thought = f"{count(metrics.get('tokens_reasoning'))} of them reasoning"
    written = (
        f"calls {count(metrics.get('api_calls'))}",
        f"tokens {count(metrics.get('tokens_in'))} in ({kinds}), {count(metrics.get('tokens_out'))} out ({thought})",
        f"in calls {duration(metrics.get('call_seconds'))}",
        f"waiting for the provider {duration(metrics.get('waiting_seconds'))}",
        f"cost {usd(metrics.get('cost_usd'))}",
    )
    return ", ".join(written)


def _came_about(metrics: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield what the steps changed and how good what they built is."""
    yield "changes", changes_words(metrics)
    yield "quality", quality_words(metrics)


def _unmeasured(metrics: Mapping[str, Any]) -> Iterable[str]:
    """Yield why numbers are missing, or no exact measurement, as the metrics themselves say; each reason once."""
    about = metrics.get("about")
    names: dict[str, list[str]] = {}
    for name, one in about.items() if isinstance(about, dict) else ():
        if isinstance(one, dict) and one.get("reason") and (metrics.get(name) is None or not one.get("exact", True)):
            names.setdefault(str(one["reason"]), []).append(name)
    yield from (f"{', '.join(which)}: {reason}" for reason, which in names.items())
