"""Readings: single measured values of attempts, each with its source and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from runner.engine.protocol import Usage
from runner.evidence.records import AttemptRecord, MetricAbout
from runner.evidence.untrusted import ShimReport
from runner.gateway.session import Totals
from runner.spec.model import Model

Number = float | int
Status = Literal["measured", "derived", "partial", "unmeasured"]

UNITS = {
    "wall_seconds": "seconds",
    "cpu_seconds": "seconds",
    "peak_memory_bytes": "bytes",
    "io_read_bytes": "bytes",
    "io_write_bytes": "bytes",
    "api_calls": "calls",
    "tokens_in": "tokens",
    "tokens_out": "tokens",
    "tokens_cached": "tokens",
    "tokens_reasoning": "tokens",
    "call_seconds": "seconds",
    "waiting_seconds": "seconds",
    "cost_usd": "USD",
    "steps_total": "steps",
    "steps_performed": "steps",
    "steps_passed": "steps",
    "attempts": "attempts",
    "artifact_files": "files",
    "artifact_bytes": "bytes",
    "crud_effectiveness": "share",
    "endpoint_success": "share",
    "model_correctness": "share",
    "zero_defect": "share",
    "availability": "share",
    "carry_forward": "share",
    "tests_passed": "share",
    "imports_ok": "share",
    "ruff_findings": "findings",
    "bandit_findings": "findings",
    "complexity": "paths",
    "automation_rate": "share",
    "human_interventions": "interventions",
    "retries": "retries",
    "recovery_seconds": "seconds",
    "iterations": "rounds",
    "quality_per_token": "share per 1,000 tokens",
    "quality_per_dollar": "share per USD",
    "contamination": "files",
    "files_added": "files",
    "files_changed": "files",
    "files_removed": "files",
    "lines_added": "lines",
    "lines_removed": "lines",
}
"""Metric -> its unit; equal in number and order to METRIC_NAMES."""

_SHIM_FIELDS = {
    "cpu_seconds": ("cpu_seconds", "only processes that the entry shim reaped are counted"),
    "peak_memory_bytes": ("max_rss_bytes", "peak of the largest single process, not of all together"),
    "io_read_bytes": ("io_read_bytes", "only processes that the entry shim reaped are counted"),
    "io_write_bytes": ("io_write_bytes", "only processes that the entry shim reaped are counted"),
}
"""Metric -> the shim's field that stands in for the engine's, and what it leaves out."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One value; None with a reason if it was not measured."""

    value: Number | None
    source: str
    exact: bool = True
    status: Status = "measured"
    reason: str = ""

    def about(self, name: str) -> MetricAbout:
        """Return what the records say about the metric `name`."""
        return MetricAbout(
            unit=UNITS[name], source=self.source, exact=self.exact, status=self.status, reason=self.reason
        )


def unmeasured(reason: str) -> Reading:
    """Return a reading that was not taken."""
    return Reading(value=None, source="none", exact=False, status="unmeasured", reason=reason)


def combine(parts: Sequence[tuple[str, Reading]], rule: Callable[[Sequence[Number]], Number]) -> Reading:
    """Combine readings by `rule` (sum, max); null if any is null, and then the reason names which.

    A sum over less than everything would look like a total and be none.

    Args:
        parts: where each reading comes from, like `step course`, and the reading; at least one.
        rule: gets the values.
    """
    missing = [f"{place}: {one.reason}" for place, one in parts if one.value is None]
    if missing:
        return unmeasured(_summary(missing))
    reasons = list(dict.fromkeys(one.reason for _, one in parts if one.reason))
    statuses = {one.status for _, one in parts}
    return Reading(
        value=rule([one.value for _, one in parts if one.value is not None]),
        source="+".join(dict.fromkeys(one.source for _, one in parts)),
        exact=all(one.exact for _, one in parts),
        status=next(status for status in _BY_WEAKNESS if status in statuses),
        reason="; ".join(reasons),
    )


_BY_WEAKNESS: tuple[Status, ...] = ("unmeasured", "partial", "derived", "measured")


def wall(record: AttemptRecord) -> Reading:
    """Return the container's wall time by the engine's clock; without a container, the runner's."""
    seconds = _sane(record.seconds)
    if seconds is None:
        return unmeasured("the container did not run")
    return Reading(value=seconds, source="engine" if record.container else "runner")


def side_by_side(added: Reading, attempts: Iterable[AttemptRecord]) -> Reading:
    """Return the wall time in which at least one of some attempts was under way.

    An attempt covers the seconds it took from the time at which it began; the result is the length of the union of
    these intervals, so that of attempts one after the other it is their sum.

    Args:
        added: the sum of their times, null if one is not known.
        attempts: all of them, in any order.
    """
    if added.value is None:
        return added
    spans = [(one.started_at, one.seconds or 0.0) for one in attempts]
    begun = sorted((datetime.fromisoformat(at).timestamp(), length) for at, length in spans if at is not None)
    if len(begun) < len(spans):
        return in_words(added, "a sum: when some attempts began is not known, so it may be too long")
    twice, reached = 0.0, -math.inf
    for start, length in begun:
        twice += max(min(start + length, reached) - start, 0.0)
        reached = max(reached, start + length)
    # Times of records have milliseconds; what they overlap by is no more precise.
    return replace(added, value=added.value - round(twice, 3)) if twice else added


def resource(name: str, usage: Usage, report: ShimReport | None) -> Reading:
    """Return cpu, peak memory or io of an attempt: the engine's exact reading, else the shim's, else none.

    Args:
        name: one of cpu_seconds, peak_memory_bytes, io_read_bytes, io_write_bytes.
        usage: the engine's reading.
        report: the shim's, written inside the container.
    """
    value = _sane(getattr(usage, name))
    reason = usage.reasons.get(name, "the engine gives no reading")
    if value is not None:
        source = usage.sources.get(name, "cgroup")
        if source == "cgroup":
            return Reading(value=value, source=source)
        return Reading(value=value, source=source, exact=False, status="partial", reason=_WEAK.get(source, reason))
    field, left_out = _SHIM_FIELDS[name]
    told = _sane(getattr(report, field)) if report is not None else None
    if told is None:
        return unmeasured(reason)
    return Reading(value=told, source="shim", exact=False, status="partial", reason=f"{left_out} ({reason})")


_WEAK = {"stats": "sampled while it ran", "shim": "only processes that the entry shim reaped are counted"}


def model_use(name: str, totals: Totals | None, model: Model | None) -> Reading:
    """Return calls, tokens, seconds in calls or cost of an attempt, as the gateway metered them.

    A step without a model has no way to one: its noughts are facts.
    """
    if model is None:
        return Reading(value=0, source="runner", reason="no way to a model, so none was called")
    if totals is None:
        return unmeasured("the gateway gave no totals")
    if name == "cost_usd":
        return _cost(totals, model)
    if name.startswith("tokens_"):
        return _tokens(name, totals, model)
    value = _sane(getattr(totals, name))
    return Reading(value=value, source="gateway") if value is not None else unmeasured("not stated")


def _tokens(name: str, totals: Totals, model: Model) -> Reading:
    value = _sane(getattr(totals, name))
    if totals.unmetered_calls or value is None:
        return unmeasured(_no_usage(totals))
    if model.provider == "scripted":
        return Reading(value=value, source="gateway", exact=False, reason="scripted model: counted by rule")
    if model.provider == "replay":
        return Reading(value=value, source="gateway", exact=False, reason="replay: what the recorded answers state")
    return _as_far_as_known(Reading(value=value, source="gateway"), totals)


def _cost(totals: Totals, model: Model) -> Reading:
    value = _sane(totals.cost_usd)
    if model.provider == "scripted":
        return unmeasured("scripted model: it has no price")
    if totals.unmetered_calls:
        return unmeasured(_no_usage(totals))
    if value is None:
        return unmeasured(totals.cost_reason or f"no price is known for {model.name}")
    source, reason = totals.cost_source or "gateway", "tokens times list price"
    if model.provider == "replay":
        reason = "replay: what the recorded answers would cost; nothing was spent"
    return _as_far_as_known(Reading(value=value, source=source, exact=False, status="derived", reason=reason), totals)


def _as_far_as_known(reading: Reading, totals: Totals) -> Reading:
    """Return a sum, as partial if answers broke off before their usage had been stated to the end."""
    if not totals.partial_calls:
        return reading
    words = f"{totals.partial_calls} of {totals.api_calls} calls broke off and count as far as they had been stated"
    return in_words(reading, words)


def _no_usage(totals: Totals) -> str:
    calls = totals.unmetered_calls
    return f"the provider stated no usage for {calls} of {totals.api_calls} calls" if calls else "not stated"


def in_words(reading: Reading, words: str) -> Reading:
    """Return a reading as partial, for a reason."""
    return replace(reading, exact=False, status="partial", reason=words)


def _sane(value: Number | None) -> Number | None:
    """Return a finite number from 0; None for anything else."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _summary(missing: Sequence[str]) -> str:
    return missing[0] if len(missing) == 1 else f"{missing[0]} (and {len(missing) - 1} more)"
