"""A run's numbers with the newest verdicts in them: it may have been judged again after its metrics were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.evidence.measures.of_run import AT_THE_END, AVERAGED, last, mean
from runner.evidence.measures.quality import quality
from runner.evidence.verdicts import CheckVerdict

_OWN = frozenset({"automation_rate"})
"""Averages that are no check's to say."""


def judged_again(metrics: Mapping[str, Any], verdicts: Sequence[CheckVerdict]) -> Mapping[str, Any]:
    """Return the content of a run's `metrics.json` with what the newest verdicts say in the place of what earlier ones did.

    Args:
        metrics: the content; empty while there is none.
        verdicts: the newest of each check after each step; without any, the content stays as it is.
    """
    if not metrics or not verdicts:
        return metrics
    steps = [one for one in metrics.get("per_step") or () if isinstance(one, dict)]
    found = [(str(one.get("step")), quality(verdicts, _index(one))) for one in steps]
    judged = [
        {**one, **{name: reading.value for name, reading in readings.items()}}
        for one, (_, readings) in zip(steps, found, strict=True)
    ]
    whole = {name: last(name, found) for name in AT_THE_END} | {
        name: mean(name, found) for name in AVERAGED if name not in _OWN
    }
    about = {**(metrics.get("about") or {}), **{name: one.about(name).model_dump() for name, one in whole.items()}}
    return {**metrics, **{name: one.value for name, one in whole.items()}, "per_step": judged, "about": about}


def _index(step: Mapping[str, Any]) -> int:
    found = step.get("index")
    return found if isinstance(found, int) else 0
