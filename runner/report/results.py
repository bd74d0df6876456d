"""The result table of an experiment: framework x scenario, from finished runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from runner.gateway.labels import REPLAY, SCRIPTED
from runner.report.exit_code import WAITING
from runner.report.format import DASH, count, duration, share, size, usd
from runner.report.tables import Cell, Column, Table, Tone

SCRIPTED_NOTE = "scripted model: answers were prepared, so the numbers say nothing about a real model"
REPLAY_NOTE = "replay: answers are those of earlier runs, so tokens and cost are not spent again"
Metrics = Mapping[str, float | int | None]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the tables need to know of one run; metrics carry the names of `metrics.json`, None where unmeasured."""

    run_id: str
    framework: str
    scenario: str
    repetition: int
    outcome: str | None
    reason: str
    model_label: str
    metrics: Metrics
    waits_for: tuple[str, ...] = ()
    """Approvals it waits for."""
    forked_from: str = ""
    """The run and step that it went on from."""


_COLUMNS = (
    Column(title="framework"),
    Column(title="scenario"),
    Column(title="passed", right=True),
    Column(title="otherwise", rank=1, folds=24),
    Column(title="wall", right=True, rank=1),
    Column(title="tokens in", right=True, rank=2),
    Column(title="out", right=True, rank=2),
    Column(title="in/step", right=True, rank=3),
    Column(title="out/step", right=True, rank=3),
    Column(title="cpu", right=True, rank=6),
    Column(title="peak memory", right=True, rank=5),
    Column(title="cost", right=True, rank=4),
)
_CRUD = Column(title="crud", right=True, rank=1)
_NOT_THE_FRAMEWORKS = frozenset({"broken", "cancelled", "skipped"})
"""Outcomes that say nothing about a framework: such a run's numbers stand in no median."""
_METRIC_NOTES = {
    "tokens_in": "tokens",
    "cpu_seconds": "cpu",
    "peak_memory_bytes": "peak memory",
    "cost_usd": "cost",
}


def result_table(runs: Iterable[RunFacts], reasons: Mapping[str, str] | None = None) -> Table:
    """Return one row per framework and scenario; numbers are medians over its runs that came to an end of their own.

    A fork has a row of its own: it did other steps than a repetition, from another beginning.

    Args:
        runs: the runs of the experiment, in the order in which rows should first appear.
        reasons: why a metric (by its name in `metrics.json`) is null, for the note below the table.
    """
    cells: dict[tuple[str, str, str], list[RunFacts]] = {}
    for run in runs:
        cells.setdefault((run.framework, run.scenario, run.run_id if run.forked_from else ""), []).append(run)
    everything = [run for group in cells.values() for run in group]
    labels = sorted({run.model_label for run in everything})
    notes = ["wall, tokens, cpu and memory are medians per run"] if everything else []
    notes += label_notes(labels)
    notes += left_out_notes(everything)
    notes += unmeasured_notes(everything, reasons or {})
    judged = any(run.metrics.get("crud_effectiveness") is not None for run in counted(everything))
    if judged:
        notes.append("crud: operations that work of those asked for, after the last step that was judged; median")
    return Table(
        title=f"model: {', '.join(labels)}" if labels else "",
        columns=(*_COLUMNS, _CRUD) if judged else _COLUMNS,
        rows=tuple(
            _row(framework, f"{scenario} (fork)" if fork else scenario, group, judged=judged)
            for (framework, scenario, fork), group in cells.items()
        ),
        notes=tuple(notes),
    )


def label_notes(labels: Iterable[str]) -> list[str]:
    """Return what is to be said of models that were none: prepared answers, and those of earlier runs."""
    every = set(labels)
    notes = [SCRIPTED_NOTE] if any(SCRIPTED in label for label in every) else []
    return notes + ([REPLAY_NOTE] if any(label.startswith(REPLAY) for label in every) else [])


def _row(framework: str, scenario: str, runs: Sequence[RunFacts], *, judged: bool) -> tuple[Cell, ...]:
    passed = sum(run.outcome == "passed" for run in runs)
    other = otherwise(WAITING if run.waits_for else run.outcome for run in runs)
    return (
        Cell(framework, Tone.STRONG),
        Cell(scenario),
        Cell(f"{passed}/{len(runs)}", Tone.GOOD if passed == len(runs) else Tone.BAD),
        Cell(other or "", Tone.BAD if other else Tone.FAINT),
        _median(runs, "wall_seconds", duration),
        _median(runs, "tokens_in", count),
        _median(runs, "tokens_out", count),
        _median(runs, "tokens_in", count, per="steps_performed"),
        _median(runs, "tokens_out", count, per="steps_performed"),
        _median(runs, "cpu_seconds", duration),
        _median(runs, "peak_memory_bytes", size),
        _median(runs, "cost_usd", usd),
        *([_median(runs, "crud_effectiveness", share)] if judged else []),
    )


def otherwise(outcomes: Iterable[str | None]) -> str:
    """Return what did not pass, like `1 failed, 2 broken`; empty if everything passed."""
    counted = Counter("unfinished" if one is None else one.replace("_", " ") for one in outcomes if one != "passed")
    return ", ".join(f"{number} {name}" for name, number in sorted(counted.items()))


def _median(runs: Sequence[RunFacts], name: str, write: Callable[[float | None], str], per: str = "") -> Cell:
    """Write the median of a metric over the runs that count and have it, marked if some that counts has not."""
    some = counted(runs)
    values = [value for run in some if (value := ratio(run.metrics, name, per)) is not None]
    if not values:
        return Cell(DASH, Tone.FAINT)
    middle = median(values)
    text = write(round(middle) if write is count else middle)
    return Cell(text if len(values) == len(some) else f"{text}*")


def ratio(metrics: Metrics, name: str, per: str = "") -> float | None:
    """Return a metric, divided by another if `per` names one; None if either is unknown or the divisor is 0."""
    value = metrics.get(name)
    if value is None or not per:
        return value
    divisor = metrics.get(per)
    return value / divisor if divisor else None


def counted(runs: Iterable[RunFacts]) -> list[RunFacts]:
    """Return the runs that medians are of: those that have ended, and say something about their framework."""
    return [run for run in runs if run.outcome is not None and run.outcome not in _NOT_THE_FRAMEWORKS]


def left_out_notes(runs: Iterable[RunFacts]) -> list[str]:
    """Return a sentence about finished runs that are in no median, if there are any."""
    left_out = otherwise(run.outcome for run in runs if run.outcome in _NOT_THE_FRAMEWORKS)
    return [f"not in the medians: {left_out}, which says nothing about a framework"] if left_out else []


def unmeasured_notes(runs: Iterable[RunFacts], reasons: Mapping[str, str]) -> list[str]:
    """Return a sentence for each shown metric that some run in the medians has not, saying why."""
    some = counted(runs)
    notes: list[str] = []
    for name, title in _METRIC_NOTES.items():
        missing = sum(run.metrics.get(name) is None for run in some)
        if not missing:
            continue
        why = f": {reasons[name]}" if reasons.get(name) else ""
        whole = missing == len(some)
        notes.append(f"{DASH} {title} not measured{why}" if whole else f"* {title} of {missing} not measured{why}")
    return notes


def result_values(runs: Iterable[RunFacts]) -> list[dict[str, object]]:
    """Return the runs as plain values, for `--json`; every metric is there, None where unmeasured."""
    return [
        {
            "id": run.run_id,
            "framework": run.framework,
            "scenario": run.scenario,
            "repetition": run.repetition,
            "outcome": run.outcome,
            "reason": run.reason,
            "waits_for": list(run.waits_for),
            "forked_from": run.forked_from,
            "model": run.model_label,
            "metrics": dict(run.metrics),
        }
        for run in runs
    ]
