"""A run's numbers with the newest verdicts in them: it may have been judged again after its metrics were written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from runner.evidence.judged import whole_verdicts
from runner.evidence.layout import RunLayout
from runner.evidence.measures.efficiency import efficiency
from runner.evidence.measures.of_run import AT_THE_END, AVERAGED, Place, last, mean
from runner.evidence.measures.quality import quality
from runner.evidence.metrics import read_totals
from runner.evidence.readings import Number, Reading, combine, unmeasured
from runner.evidence.records import METRIC_NAMES
from runner.evidence.verdicts import CheckVerdict

_OWN = frozenset({"automation_rate"})
"""Averages that are no check's to say."""
_TOKENS = ("tokens_in", "tokens_out")


def newest_totals(layout: RunLayout) -> dict[str, Number | None]:
    """Return a run's totals by the names of `metrics.json`, as the newest verdicts have them; None where nothing tells."""
    totals, verdicts = read_totals(layout.metrics), whole_verdicts(layout)
    if not verdicts:
        return totals
    try:
        content = json.loads(layout.metrics.read_bytes())
    except (OSError, ValueError, RecursionError):
        return totals
    judged = judged_again(content, verdicts) if isinstance(content, dict) else {}
    return {name: judged.get(name) if name in _JUDGED else totals[name] for name in METRIC_NAMES}


_JUDGED = frozenset({*AT_THE_END, *AVERAGED, "quality_per_token", "quality_per_dollar"} - _OWN)
"""What verdicts have a say in."""


def judged_again(metrics: Mapping[str, Any], verdicts: Sequence[CheckVerdict]) -> Mapping[str, Any]:
    """Return the content of a run's `metrics.json` with what the newest verdicts say in the place of what earlier ones did.

    Args:
        metrics: the content; empty while there is none.
        verdicts: the newest of each check after each step; without any, the content stays as it is.
    """
    if not metrics or not verdicts:
        return metrics
    steps = [one for one in metrics.get("per_step") or () if isinstance(one, dict)]
    found: list[Place] = []
    judged: list[Mapping[str, Any]] = []
    for place, one in enumerate(steps, start=1):
        readings = quality(verdicts, _index(one)) if _took_part(one) else {}
        own = {**readings, **_per_unit(readings, steps[:place])} if readings else {}
        judged.append({**one, **{name: reading.value for name, reading in own.items()}})
        found += [(f"step {one.get('step')}", readings)] if readings else []
    whole = {name: last(name, found) for name in AT_THE_END} | {
        name: mean(name, found) for name in AVERAGED if name not in _OWN
    }
    whole |= efficiency(
        whole["crud_effectiveness"],
        [(name, _reading(metrics, name)) for name in _TOKENS],
        _reading(metrics, "cost_usd"),
    )
    about = {**(metrics.get("about") or {}), **{name: one.about(name).model_dump() for name, one in whole.items()}}
    return {**metrics, **{name: one.value for name, one in whole.items()}, "per_step": judged, "about": about}


def _took_part(step: Mapping[str, Any]) -> bool:
    """Tell whether a step was performed or decided, as far as its line tells: only such a one says what a run came to.

    Of a step that was decided, which is no attempt, a rate of automation is known; of one that was left out, nothing.
    """
    return bool(step.get("attempts")) or step.get("automation_rate") is not None


def _per_unit(readings: Mapping[str, Reading], until: Sequence[Mapping[str, Any]]) -> Mapping[str, Reading]:
    """Return what a step's quality was had for, of the lines of all steps until it, itself included."""
    used = [one for one in until if one.get("attempts")]
    parts = [(f"step {one.get('step')}", name, one) for one in used for name in (*_TOKENS, "cost_usd")]
    tokens = [(place, _reading(one, name)) for place, name, one in parts if name in _TOKENS]
    cost = [(place, _reading(one, name)) for place, name, one in parts if name not in _TOKENS]
    spent = combine(cost, sum) if cost else unmeasured("no step was performed")
    return efficiency(readings["crud_effectiveness"], tokens, spent)


def _reading(metrics: Mapping[str, Any], name: str) -> Reading:
    """Return a number as the reading that it was written from, as far as it is told."""
    value = metrics.get(name)
    told = (metrics.get("about") or {}).get(name) or {}
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return unmeasured(str(told.get("reason") or f"{name} was not measured"))
    return Reading(
        value=value,
        source=str(told.get("source", "runner")),
        exact=told.get("exact") is not False,
        status=told["status"] if told.get("status") in {"derived", "partial"} else "measured",
        reason=str(told.get("reason", "")),
    )


def _index(step: Mapping[str, Any]) -> int:
    found = step.get("index")
    return found if isinstance(found, int) else 0
