"""Complete the metrics of a run's steps when no step is under way any more: from its records, calls, checks and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.errors import StorageError
from runner.evidence.history.oci import KeptStep, read_steps
from runner.evidence.layout import RunLayout
from runner.evidence.measures.autonomy import autonomy
from runner.evidence.measures.churn import NAMES as CHURN
from runner.evidence.measures.churn import churn, no_churn
from runner.evidence.measures.contamination import contamination, other_runs, run_files, step_files
from runner.evidence.measures.efficiency import efficiency
from runner.evidence.measures.of_run import LATER
from runner.evidence.measures.quality import quality
from runner.evidence.metrics import MetricsReport, reading_of, run_metrics, with_readings, write_metrics
from runner.evidence.metrics_table import write_table
from runner.evidence.readings import Reading, combine, unmeasured
from runner.evidence.records import StepRecord
from runner.evidence.tree import scan
from runner.evidence.verdicts import CheckVerdict, read_verdicts
from runner.gateway.calls import read_calls
from runner.plan.models import Run

Step = tuple[StepRecord, MetricsReport]


@dataclass(frozen=True, kw_only=True)
class _Evidence:
    """What all steps of a run are measured by."""

    layout: RunLayout
    history: Mapping[int, KeptStep]
    why: str
    """Why a step that is not in the history is not there."""
    blind: frozenset[int]
    """Positions of steps that see no workspace."""
    others: Sequence[str]
    """Ids of other runs."""


def complete(layout: RunLayout, run: Run, steps: Sequence[Step], verdicts: Sequence[CheckVerdict]) -> list[Step]:
    """Return the steps with the measures in their metrics that are known only now.

    What a step changed is found once: metrics that tell it already keep it.

    Args:
        layout: where the run is.
        run: the run.
        steps: every step in order, with its metrics so far.
        verdicts: of all checks, after any step.
    """
    evidence = _evidence(layout, run)
    calls = read_calls(layout.calls).calls
    found: list[Step] = []
    used: list[tuple[str, MetricsReport]] = []
    for record, report in steps:
        later: Mapping[str, Reading] = dict.fromkeys(LATER, unmeasured("the step was not performed"))
        if record.attempts or record.decision is not None:
            used += [(f"step {record.id}", report)] if record.attempts else []
            later = {
                **autonomy(record, calls),
                **quality(verdicts, record.index),
                **_changes(evidence, record, report),
                "contamination": contamination(step_files(layout.step(record.index)), evidence.others),
            }
            # Adding up from the first step again takes time in a graph of very many, few of which are judged.
            spent = used if later["crud_effectiveness"].value is not None else []
            tokens = [_over(spent, name) for name in ("tokens_in", "tokens_out")]
            later = {**later, **efficiency(later["crud_effectiveness"], tokens, _over(spent, "cost_usd")[1])}
        found.append((record, with_readings(report, later)))
    return found


def write_all(layout: RunLayout, run: Run, steps: Sequence[Step], cut_off: Sequence[str] = ()) -> MetricsReport:
    """Complete the metrics of a run whose steps are over, write them all, and return the run's.

    Args:
        layout: where the run is; the verdicts of its checks are there.
        run: the run.
        steps: every step in order, with its metrics so far.
        cut_off: steps that were under way when something broke.

    Raises:
        StorageError: if they cannot be written.
    """
    verdicts = [one for record, _ in steps for one in read_verdicts(layout.step(record.index).checks)]
    whole = complete(layout, run, steps, verdicts)
    for (_, before), (record, after) in zip(steps, whole, strict=True):
        if after != before:
            write_metrics(layout.step(record.index).metrics, after)
    tree = scan(layout.workspace) if layout.workspace.is_dir() else None
    metrics = run_metrics(whole, tree, cut_off=cut_off, logs=logs_of_run(layout, run))
    write_metrics(layout.metrics, metrics)
    write_table(layout.metrics_table, metrics, whole)
    return metrics


def logs_of_run(layout: RunLayout, run: Run) -> Reading:
    """Return the contamination of the files that are the whole run's."""
    return contamination(run_files(layout), _others(layout, run))


def _evidence(layout: RunLayout, run: Run) -> _Evidence:
    why, kept = "the run keeps no history", tuple[KeptStep, ...]()
    if run.history != "off":
        try:
            kept, why = read_steps(layout.history), "the history does not keep it"
        except StorageError as error:
            why = f"the history cannot be read: {error}"
    return _Evidence(
        layout=layout,
        history={one.number: one for one in kept},
        why=why,
        blind=frozenset(one.index for one in run.steps if one.workspace == "none"),
        others=_others(layout, run),
    )


def _others(layout: RunLayout, run: Run) -> list[str]:
    own = {run.id, *((run.parent.run,) if run.parent is not None else ())}
    return other_runs(layout.root.parent.parent, own)


def _changes(evidence: _Evidence, record: StepRecord, report: MetricsReport) -> Mapping[str, Reading]:
    """Return how much a step changed, as its metrics have it already or else as the history tells."""
    known = {name: reading_of(report, name) for name in CHURN}
    if all(one.value is not None for one in known.values()):
        return known
    if record.index in evidence.blind or not record.attempts:
        return dict.fromkeys(CHURN, Reading(value=0, source="runner", reason="it sees no workspace"))
    kept = evidence.history.get(record.index)
    return no_churn(evidence.why) if kept is None else churn(evidence.layout.history, kept)


def _over(used: Sequence[tuple[str, MetricsReport]], name: str) -> tuple[str, Reading]:
    """Return what the steps up to one used of something, added up."""
    if not used:
        return name, unmeasured("no step was performed")
    return name, combine([(place, reading_of(report, name)) for place, report in used], sum)
