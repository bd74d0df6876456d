"""Metrics of steps and runs, in the format of `metrics.json`: flat name -> number or null, `per_step`, `about`.

How parts add up, within a step over its attempts and within a run over its steps: everything is a sum, only peak
memory is the maximum, and the workspace's size is that at the end. A total is null as soon as one part is, with a
reason that names the part. A step that was not performed used nothing: its own values are null, totals go without it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.engine.protocol import Usage
from runner.evidence.atomic import write_json
from runner.evidence.readings import (
    UNITS,
    Number,
    Reading,
    combine,
    in_words,
    model_use,
    resource,
    unmeasured,
    wall,
)
from runner.evidence.records import METRIC_NAMES, AttemptRecord, MetricAbout, Outcome
from runner.evidence.tree import TreeScan
from runner.evidence.untrusted import ShimReport
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


@dataclass(frozen=True, kw_only=True)
class MetricsReport:
    """Content of a `metrics.json`; `totals` and each element of `per_step` have exactly the names of METRIC_NAMES."""

    totals: Mapping[str, Number | None]
    about: Mapping[str, MetricAbout]
    per_step: tuple[Mapping[str, str | Number | None], ...] = ()
    """For a run, with `step` and `index` besides; empty for a step."""
    labels: Mapping[str, str | int] = field(default_factory=dict)
    """For a step, its `step` and `index`."""

    def content(self) -> dict[str, object]:
        """Return the JSON object as it is written."""
        about = {name: one.model_dump() for name, one in self.about.items()}
        return {**self.labels, **self.totals, "per_step": [dict(one) for one in self.per_step], "about": about}


def step_metrics(step: MeasuredStep) -> MetricsReport:
    """Return the metrics of one step."""
    return _report(_step_readings(step), labels={"step": step.step, "index": step.index})


def run_metrics(steps: Sequence[MeasuredStep], tree: TreeScan | None) -> MetricsReport:
    """Return the metrics of a run.

    Args:
        steps: every step in order, those that were not performed too.
        tree: the workspace at the end.
    """
    readings = [(step, _step_readings(step)) for step in steps]
    performed = [(f"step {step.step}", own) for step, own in readings if step.attempts]
    totals = {
        name: combine([(place, own[name]) for place, own in performed], _rule(name))
        if performed
        else unmeasured("no step was performed")
        for name in _USED
    }
    totals |= {
        name: Reading(value=sum(own[name].value or 0 for _, own in readings), source="runner")
        for name in ("steps_total", "steps_passed", "attempts")
    }
    per_step = tuple(
        {"step": step.step, "index": step.index, **{name: own[name].value for name in METRIC_NAMES}}
        for step, own in readings
    )
    return _report(totals | _artifacts(tree), per_step=per_step)


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
        per_step = tuple(dict(one) for one in content["per_step"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    labels = {key: content[key] for key in ("step", "index") if key in content}
    totals = {name: _number(content.get(name)) for name in METRIC_NAMES}
    return MetricsReport(totals=totals, about=about, per_step=per_step, labels=labels)


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


def _step_readings(step: MeasuredStep) -> dict[str, Reading]:
    attempts = [(f"attempt {one[0].attempt}", _attempt_readings(one, step.model)) for one in step.attempts]
    used = {
        name: combine([(place, own[name]) for place, own in attempts], _rule(name))
        if attempts
        else unmeasured(_NOT_PERFORMED)
        for name in _USED
    }
    counted = {"steps_total": 1, "steps_passed": int(step.outcome == "passed"), "attempts": len(step.attempts)}
    return (
        used | {name: Reading(value=value, source="runner") for name, value in counted.items()} | _artifacts(step.tree)
    )


def _attempt_readings(attempt: MeasuredAttempt, model: Model | None) -> dict[str, Reading]:
    record, usage, report, totals = attempt
    return (
        {"wall_seconds": wall(record)}
        | {name: resource(name, usage, report) for name in RESOURCES}
        | {name: model_use(name, totals, model) for name in _MODEL_USE}
    )


def _artifacts(tree: TreeScan | None) -> dict[str, Reading]:
    names = ("artifact_files", "artifact_bytes")
    if tree is None:
        return {name: unmeasured("the workspace could not be looked at") for name in names}
    readings = {
        name: Reading(value=value, source="workspace")
        for name, value in zip(names, (tree.files, tree.bytes), strict=True)
    }
    if not tree.unreadable:
        return readings
    words = f"{len(tree.unreadable)} folders could not be listed"
    return {name: in_words(one, words) for name, one in readings.items()}


def _rule(name: str) -> Callable[[Sequence[Number]], Number]:
    return max if name == "peak_memory_bytes" else sum


def _number(value: object) -> Number | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value
