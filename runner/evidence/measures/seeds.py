"""A run's metrics under the names, and in the layout, of the experiment that frameworks were compared with before.

Source: the `metrics.json` and `manifest.json` of its 300 published runs, and the formulas of its collector. What was not
measured here is left out there, as its scripts take whatever stands there for a number; `unmeasured` has the reasons. Where
its formulas contradict each other or say nothing of our runs, docs/reference/metrics.md says what is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from runner.evidence.readings import Number
from runner.evidence.records import RunRecord, StepRecord

OPERATIONS = 12
"""CRUDe is told on a scale of four operations of three entities."""
_EFFORT = 3
"""Units of human effort per intervention."""
_WEIGHTS = {"ESR": 0.4, "CRUDe": 0.3 / OPERATIONS, "MC": 0.3}
"""Of Q*, the composite quality."""
_SAME = {
    "HIT": "human_interventions",
    "AUTR": "automation_rate",
    "TOK_IN": "tokens_in",
    "TOK_OUT": "tokens_out",
    "API_CALLS": "api_calls",
    "CACHED_TOKENS": "tokens_cached",
    "T_WALL_seconds": "wall_seconds",
    "ESR": "endpoint_success",
    "COST_USD": "cost_usd",
}
"""Its name -> ours, of what needs no arithmetic."""
_NEEDS = {
    "HEU": ("human_interventions",),
    "CRUDe": ("crud_effectiveness",),
    "ZDI": ("availability",),
    "MC": ("availability",),
    "Q_star": ("endpoint_success", "crud_effectiveness", "availability"),
    "AEI": ("automation_rate", "tokens_in"),
}
"""Its name -> what of ours it is computed from."""
NAMES = (
    *("UTT", "HIT", "AUTR", "HEU", "TOK_IN", "TOK_OUT", "API_CALLS", "CACHED_TOKENS", "T_WALL_seconds"),
    *("CRUDe", "ESR", "MC", "ZDI", "Q_star", "AEI", "COST_USD"),
)
"""As its files have them, in their order."""
Values = Mapping[str, Number]


def seeds_values(metrics: Mapping[str, Any]) -> dict[str, Number]:
    """Return what of its metrics is known of a run, by its names.

    Args:
        metrics: content of the run's `metrics.json`.
    """
    known = {name: value for name, value in metrics.items() if _is_number(value)}
    found: dict[str, Number] = {name: known[ours] for name, ours in _SAME.items() if ours in known}
    if "steps_total" in known:
        found["UTT"] = known["steps_total"]
    for name, compute in _COMPUTED.items():
        if all(ours in known for ours in _NEEDS[name]):
            value = compute(known, metrics)
            found |= {} if value is None else {name: value}
    return {name: found[name] for name in NAMES if name in found}


def unmeasured(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return why each of its metrics that is not known is not."""
    found = seeds_values(metrics)
    return {name: _why(name, metrics) for name in NAMES if name not in found}


def seeds_metrics(record: RunRecord, metrics: Mapping[str, Any]) -> dict[str, object]:
    """Return the content of a `metrics.json` as it had them.

    Args:
        record: the run's record.
        metrics: content of the run's `metrics.json`.
    """
    tokens = all(_is_number(metrics.get(name)) for name in ("tokens_in", "tokens_out"))
    message = "counted by the gateway while the run went on" if tokens else "the gateway does not know them all"
    return {
        "run_id": record.run.id,
        "model": record.model_label,
        "start_timestamp": record.started_at,
        "end_timestamp": record.finished_at,
        "steps": [_step(one) for one in record.steps],
        "aggregate_metrics": seeds_values(metrics),
        "unmeasured": unmeasured(metrics),
        "verification_status": _verified(metrics),
        "usage_api_reconciliation": {"verification_status": _verified(metrics), "verification_message": message},
    }


def manifest(records: Iterable[tuple[RunRecord, Mapping[str, Any]]]) -> dict[str, object]:
    """Return the content of a `manifest.json` as it had it, of runs and the content of their `metrics.json`."""
    runs = [_listed(record, metrics) for record, metrics in records]
    names = [str(one["framework"]) for one in runs]
    return {
        "version": "1.0",
        "last_updated": max((str(one["end_time"] or "") for one in runs), default=""),
        "total_runs": len(runs),
        "frameworks": {name: names.count(name) for name in dict.fromkeys(names)},
        "runs": runs,
    }


def place(record: RunRecord) -> str:
    """Return where a run is below its folder of runs, as its manifest says."""
    return f"{record.run.framework.name}/{record.run.id}"


def _listed(record: RunRecord, metrics: Mapping[str, Any]) -> dict[str, object]:
    found = seeds_values(metrics)
    return {
        "run_id": record.run.id,
        "framework": record.run.framework.name,
        "path": place(record),
        "start_time": record.started_at,
        "end_time": record.finished_at,
        "verification_status": _verified(metrics),
        "total_tokens_in": found.get("TOK_IN"),
        "total_tokens_out": found.get("TOK_OUT"),
    }


def _verified(metrics: Mapping[str, Any]) -> str:
    """Return its word for whether the tokens can be relied on; it reads no run that is only `pending`."""
    return "verified" if all(_is_number(metrics.get(name)) for name in ("tokens_in", "tokens_out")) else "pending"


def _step(step: StepRecord) -> dict[str, object]:
    begin, end = _seconds(step.started_at), _seconds(step.finished_at)
    decided = step.decision is not None and step.decision.by == "person"
    return {
        "step": step.index,
        "duration_seconds": None if begin is None or end is None else round(end - begin, 3),
        "start_timestamp": None if begin is None else int(begin),
        "end_timestamp": None if end is None else int(end),
        "hitl_count": sum(one.answer_sha256 is not None for one in step.answers) + int(decided),
        "retry_count": max(len(step.attempts) - 1, 0),
        "success": step.outcome == "passed",
    }


def _incidents(known: Values, metrics: Mapping[str, Any]) -> Number | None:
    """Return how many of the judged states were not available, from the share of those that were."""
    steps = [one.get("availability") for one in metrics.get("per_step") or () if isinstance(one, dict)]
    judged = sum(_is_number(one) for one in steps)
    return round((1 - known["availability"]) * judged) if judged else None


def _continuity(known: Values, _: Mapping[str, Any]) -> Number:
    return 1.0 if known["availability"] == 1 else 0.0


def _quality(known: Values, metrics: Mapping[str, Any]) -> Number:
    parts = {
        "ESR": known["endpoint_success"],
        "CRUDe": OPERATIONS * known["crud_effectiveness"],
        "MC": _continuity(known, metrics),
    }
    return sum(weight * parts[name] for name, weight in _WEIGHTS.items())


def _autonomy(known: Values, _: Mapping[str, Any]) -> Number | None:
    """Return the automation rate per logarithm of the tokens; nothing without a token, as the formula has none then."""
    return known["automation_rate"] / math.log1p(known["tokens_in"]) if known["tokens_in"] > 0 else None


_COMPUTED: Mapping[str, Callable[[Values, Mapping[str, Any]], Number | None]] = {
    "HEU": lambda known, _: _EFFORT * known["human_interventions"],
    "CRUDe": lambda known, _: OPERATIONS * known["crud_effectiveness"],
    "ZDI": _incidents,
    "MC": _continuity,
    "Q_star": _quality,
    "AEI": _autonomy,
}


def _why(name: str, metrics: Mapping[str, Any]) -> str:
    about = metrics.get("about")
    for ours in (_SAME[name],) if name in _SAME else _NEEDS.get(name, ()):
        if not _is_number(metrics.get(ours)):
            told = about.get(ours) if isinstance(about, dict) else None
            reason = told.get("reason") if isinstance(told, dict) else ""
            return f"{ours}: {reason or 'not measured'}"
    return "nothing it could be computed from"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _seconds(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()
