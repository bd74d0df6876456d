"""Metrics of steps and runs, in the format of `metrics.json`: flat name -> number or null, `per_step`, `about`.

How parts add up, within a step over its attempts and within a run over its steps: everything is a sum, only peak
memory is the maximum, the workspace's size is that at the end, and the wall time of steps that ran beside each other is
the time in which at least one of their attempts was under way. A total is null as soon as one part is, with a reason
that names the part. A step that was not performed used nothing: its own values are null, totals go without it. So do
totals of what a container uses go without steps that had none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from runner.engine.protocol import Usage
from runner.evidence.atomic import write_json
from runner.evidence.measures.of_run import LATER, not_yet, of_run
from runner.evidence.readings import (
    UNITS,
    Number,
    Reading,
    combine,
    in_words,
    model_use,
    resource,
    side_by_side,
    unmeasured,
    wall,
)
from runner.evidence.records import METRIC_NAMES, AttemptRecord, MetricAbout, Outcome, Phase, StepRecord
from runner.evidence.tree import TreeScan
from runner.evidence.untrusted import ShimReport
from runner.gateway.calls import Call, totals
from runner.gateway.session import Totals
from runner.spec.model import Model

MeasuredAttempt = tuple[AttemptRecord, Usage, ShimReport | None, Totals | None]
"""What is known of an attempt: its record, the engine's and the shim's readings, the gateway's totals (None: no model)."""

RESOURCES = ("cpu_seconds", "peak_memory_bytes", "io_read_bytes", "io_write_bytes")
"""Metrics that are the engine's to measure."""
_MODEL_USE = (
    *("api_calls", "tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning"),
    *("call_seconds", "waiting_seconds", "cost_usd"),
)
_ALWAYS_KNOWN = "wall_seconds"
"""A metric that every version wrote."""
_USED = ("wall_seconds", *RESOURCES, *_MODEL_USE)
"""What attempts use up."""
_NOT_PERFORMED = "the step was not performed"
_UNSEEN = "its workspace was not looked at: it sees none, or it could not be read"
WITHOUT_CONTAINER = frozenset({"model", "approval"})
"""Kinds of steps that have no container."""
Row = Mapping[str, object]
"""An element of `per_attempt` or `per_phase`: what it is of, flat values, and `about` each of them."""


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """Everything a step's metrics are made of."""

    step: str
    index: int
    outcome: Outcome
    attempts: tuple[MeasuredAttempt, ...]
    """Every attempt, the failed ones included; none if the step was not performed."""
    tree: TreeScan | None
    """The workspace after the step; None if it could not be looked at."""
    model: Model | None
    phases: Sequence[Phase] = ()
    """The framework's phases of the last attempt, as it reported them."""
    calls: Sequence[Call] = ()
    """The step's model calls, for those of each phase; of other steps too, they are left out."""


@dataclass(frozen=True, kw_only=True)
class MetricsReport:
    """Content of a `metrics.json`; `totals` and each element of `per_step` have exactly the names of METRIC_NAMES."""

    totals: Mapping[str, Number | None]
    about: Mapping[str, MetricAbout]
    per_step: tuple[Mapping[str, str | Number | None], ...] = ()
    """For a run, with `step` and `index` besides; empty for a step."""
    labels: Mapping[str, str | int] = field(default_factory=dict)
    """For a step, its `step` and `index`."""
    per_attempt: tuple[Row, ...] = ()
    """For a step, what each attempt used."""
    per_phase: tuple[Row, ...] = ()
    """For a step whose framework reports phases, what each of the last attempt's used."""

    def content(self) -> dict[str, object]:
        """Return the JSON object as it is written; only a step's has `per_attempt` and `per_phase`."""
        about = {name: one.model_dump() for name, one in self.about.items()}
        parts: dict[str, object] = {"per_step": [dict(one) for one in self.per_step]}
        if self.labels:
            parts["per_attempt"] = [dict(one) for one in self.per_attempt]
            parts["per_phase"] = [dict(one) for one in self.per_phase]
        return {**self.labels, **self.totals, **parts, "about": about}


def step_metrics(step: MeasuredStep) -> MetricsReport:
    """Return the metrics of one step, with those of its attempts and of its framework's phases."""
    attempts = [_attempt_readings(one, step.model) for one in step.attempts]
    return replace(
        _report(_step_readings(step, attempts), labels={"step": step.step, "index": step.index}),
        per_attempt=tuple(
            _part({"attempt": one[0].attempt}, readings) for one, readings in zip(step.attempts, attempts, strict=True)
        ),
        per_phase=tuple(_part({"phase": one.name}, _phase_readings(one, step)) for one in step.phases),
    )


def run_metrics(
    steps: Sequence[tuple[StepRecord, MetricsReport]],
    tree: TreeScan | None,
    *,
    cut_off: Sequence[str] = (),
    logs: Reading | None = None,
) -> MetricsReport:
    """Return the metrics of a run, from what is kept of its steps and nothing else.

    Args:
        steps: every step in order, those that were not performed too, with its metrics.
        tree: the workspace at the end.
        cut_off: steps that were under way when something broke, of which nobody knows what they used.
        logs: contamination of the files that are the whole run's; None if nobody looked.
    """
    performed = [(step, report) for step, report in steps if step.attempts]
    beside = any(step.depends_on is not None for step, _ in steps)
    added = {name: _over_steps(name, performed, beside=beside) for name in _USED}
    if cut_off:
        words = f"not counted, as cut off while under way: {', '.join(cut_off)}"
        added = {name: one if one.value is None else in_words(one, words) for name, one in added.items()}
    added |= {
        name: Reading(value=sum(report.totals[name] or 0 for _, report in steps), source="runner")
        for name in ("steps_total", "steps_passed", "attempts")
    }
    # Metrics of a step that an earlier version wrote do not tell.
    added["steps_performed"] = Reading(value=len(performed), source="runner")
    per_step = tuple(
        {"step": step.id, "index": step.index, **{name: report.totals[name] for name in METRIC_NAMES}}
        for step, report in steps
    )
    looked = logs or unmeasured("nobody looked")
    tokens = [(name, added[name]) for name in ("tokens_in", "tokens_out")]
    judged = [
        (f"step {step.id}", {name: reading_of(report, name) for name in LATER})
        for step, report in steps
        if step.attempts or step.decision is not None
    ]
    return _report(added | _artifacts(tree) | of_run(judged, tokens, added["cost_usd"], looked), per_step=per_step)


def with_readings(report: MetricsReport, readings: Mapping[str, Reading]) -> MetricsReport:
    """Return metrics with other readings in the place of some."""
    values = {name: one.value for name, one in readings.items()}
    about = {name: one.about(name) for name, one in readings.items()}
    return replace(report, totals={**report.totals, **values}, about={**report.about, **about})


def _over_steps(name: str, performed: Sequence[tuple[StepRecord, MetricsReport]], *, beside: bool) -> Reading:
    """Return a run's total of what its performed steps used.

    Args:
        name: a metric.
        performed: the steps with an attempt, and their metrics.
        beside: whether some of them may have run beside each other.
    """
    if not performed:
        return unmeasured("no step was performed")
    if name in RESOURCES:
        performed = [(step, report) for step, report in performed if step.kind not in WITHOUT_CONTAINER]
        if not performed:
            return unmeasured("no step had a container")
    added = combine([(f"step {step.id}", reading_of(report, name)) for step, report in performed], _rule(name))
    if name != "wall_seconds" or not beside:
        return added
    return side_by_side(added, [attempt for step, _ in performed for attempt in step.attempts])


def reading_of(report: MetricsReport, name: str) -> Reading:
    """Return a metric as the reading that it was written from."""
    about = report.about[name]
    return Reading(
        value=report.totals[name], source=about.source, exact=about.exact, status=about.status, reason=about.reason
    )


def write_metrics(path: Path, report: MetricsReport) -> None:
    """Write a `metrics.json`.

    Raises:
        StorageError: if it cannot be written.
    """
    write_json(path, report.content())


def read_totals(path: Path) -> dict[str, Number | None]:
    """Return the flat part of a `metrics.json`: every metric, None where the file does not tell, or there is none."""
    try:
        content: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        content = None
    found = content if isinstance(content, dict) else {}
    return {name: _number(found.get(name)) for name in METRIC_NAMES}


def read_metrics(path: Path) -> MetricsReport | None:
    """Return a `metrics.json` with everything in it; None if there is none that can be used.

    Metrics that the version which wrote it did not have are unmeasured.
    """
    try:
        content: Any = json.loads(path.read_bytes())
        told = content["about"]
        about = {
            name: MetricAbout.model_validate(told[name])
            if name in told or name == _ALWAYS_KNOWN
            else unmeasured("an earlier version of the runner did not measure it").about(name)
            for name in METRIC_NAMES
        }
        per_step, per_attempt, per_phase = (
            tuple(dict(one) for one in content.get(name) or ()) for name in ("per_step", "per_attempt", "per_phase")
        )
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    labels = {key: content[key] for key in ("step", "index") if key in content}
    totals = {name: _number(content.get(name)) for name in METRIC_NAMES}
    return MetricsReport(
        totals=totals, about=about, per_step=per_step, labels=labels, per_attempt=per_attempt, per_phase=per_phase
    )


def _report(
    readings: Mapping[str, Reading],
    *,
    per_step: tuple[Mapping[str, str | Number | None], ...] = (),
    labels: Mapping[str, str | int] | None = None,
) -> MetricsReport:
    return MetricsReport(
        totals={name: readings[name].value for name in METRIC_NAMES},
        about={name: readings[name].about(name) for name in UNITS},
        per_step=per_step,
        labels=labels or {},
    )


def _part(labels: Mapping[str, str | int], readings: Mapping[str, Reading]) -> Row:
    values = {name: one.value for name, one in readings.items()}
    return {**labels, **values, "about": {name: one.about(name).model_dump() for name, one in readings.items()}}


def _step_readings(step: MeasuredStep, attempts: Sequence[Mapping[str, Reading]]) -> dict[str, Reading]:
    places = [f"attempt {one[0].attempt}" for one in step.attempts]
    used = {
        name: combine([(place, own[name]) for place, own in zip(places, attempts, strict=True)], _rule(name))
        if attempts
        else unmeasured(_NOT_PERFORMED)
        for name in _USED
    }
    counted = {
        "steps_total": 1,
        "steps_performed": int(bool(step.attempts)),
        "steps_passed": int(step.outcome == "passed"),
        "attempts": len(step.attempts),
    }
    known = {name: Reading(value=value, source="runner") for name, value in counted.items()}
    return used | known | _artifacts(step.tree, _UNSEEN if step.attempts else _NOT_PERFORMED) | not_yet()


def _attempt_readings(attempt: MeasuredAttempt, model: Model | None) -> dict[str, Reading]:
    record, usage, report, metered = attempt
    return (
        {"wall_seconds": wall(record)}
        | {name: resource(name, usage, report) for name in RESOURCES}
        | {name: model_use(name, metered, model) for name in _MODEL_USE}
    )


def _phase_readings(phase: Phase, step: MeasuredStep) -> dict[str, Reading]:
    """Return a phase's time as reported, and what its model calls come to: those that arrived while it went on."""
    reported = Reading(value=phase.seconds, source="framework", exact=False, status="partial", reason="as reported")
    readings = {"wall_seconds": unmeasured("the framework does not say") if phase.seconds is None else reported}
    if phase.started_at is None or phase.seconds is None:
        why = "the framework does not say when it began and how long it took"
        return readings | {name: unmeasured(why) for name in _MODEL_USE}
    last = step.attempts[-1][0].attempt if step.attempts else 0
    end = phase.started_at + phase.seconds
    own = [
        call
        for call in step.calls
        if (call.step, call.attempt) == (step.step, last) and phase.started_at <= _arrived(call) < end
    ]
    return readings | {name: model_use(name, totals(own), step.model) for name in _MODEL_USE}


def _arrived(call: Call) -> float:
    return datetime.fromisoformat(call.time).timestamp()


def _artifacts(tree: TreeScan | None, why: str = "the workspace could not be looked at") -> dict[str, Reading]:
    """Return the size of a workspace; null, with why, if there is none."""
    names = ("artifact_files", "artifact_bytes")
    if tree is None:
        return {name: unmeasured(why) for name in names}
    readings = {
        name: Reading(value=value, source="workspace")
        for name, value in zip(names, (tree.files, tree.bytes), strict=True)
    }
    if not (tree.unreadable or tree.too_deep):
        return readings
    missing = {"could not be listed": tree.unreadable, "hold paths that are too long": tree.too_deep}
    words = ", ".join(f"{len(folders)} folders {words}" for words, folders in missing.items() if folders)
    return {name: in_words(one, words) for name, one in readings.items()}


def _rule(name: str) -> Callable[[Sequence[Number]], Number]:
    return max if name == "peak_memory_bytes" else sum


def _number(value: object) -> Number | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value
