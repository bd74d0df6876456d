"""What the measures of a run's steps come to for the run: what adds up, what counts at the end, what is an average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.evidence.measures.churn import NAMES as CHURN
from runner.evidence.measures.efficiency import efficiency
from runner.evidence.measures.quality import is_due
from runner.evidence.readings import Reading, combine, in_words, unmeasured

AT_THE_END = (
    *("crud_effectiveness", "endpoint_success", "model_correctness", "zero_defect", "carry_forward"),
    *("tests_passed", "imports_ok", "ruff_findings", "bandit_findings", "complexity"),
)
"""Measures of what there is: the run's are those after the last step that was judged."""
AVERAGED = ("availability", "automation_rate")
"""Measures of which the run's is the mean over the steps that have one."""
ADDED = ("human_interventions", "retries", "iterations", *CHURN)
PER_UNIT = ("quality_per_token", "quality_per_dollar")
LATER = (*AT_THE_END, *AVERAGED, *ADDED, "recovery_seconds", "contamination", *PER_UNIT)
"""Measures that are not known when a step ends, but when the run does."""
_OPEN = "known when the run has ended"

Place = tuple[str, Mapping[str, Reading]]
"""A step's name, like `step course`, and its readings."""


def not_yet() -> dict[str, Reading]:
    """Return the later measures of a step whose run goes on."""
    return dict.fromkeys(LATER, unmeasured(_OPEN))


def of_run(
    steps: Sequence[Place], tokens: Sequence[tuple[str, Reading]], cost: Reading, logs: Reading
) -> dict[str, Reading]:
    """Return the later measures of a run.

    Args:
        steps: its performed steps, by position.
        tokens: the run's tokens_in and tokens_out.
        cost: the run's cost_usd.
        logs: contamination of the files that are the whole run's.
    """
    if not steps:
        return dict.fromkeys(LATER, unmeasured("no step was performed"))
    found = {name: last(name, steps) for name in AT_THE_END}
    found |= {name: mean(name, steps) for name in AVERAGED}
    found |= {name: combine([(place, own[name]) for place, own in steps], sum) for name in ADDED}
    found["recovery_seconds"] = _recovery(steps)
    found["contamination"] = combine([*((place, own["contamination"]) for place, own in steps), ("logs", logs)], sum)
    return {**found, **efficiency(found["crud_effectiveness"], tokens, cost)}


def last(name: str, steps: Sequence[Place]) -> Reading:
    """Return the reading after the last step that was to be judged; an earlier one says nothing of what there is now."""
    due = [own[name] for _, own in steps if is_due(own[name])]
    return due[-1] if due else unmeasured("no check judged it after any step")


def mean(name: str, steps: Sequence[Place]) -> Reading:
    """Return the mean over the steps that were to be judged and were."""
    due = [(place, own[name]) for place, own in steps if is_due(own[name])]
    known = [(place, one) for place, one in due if one.value is not None]
    if not known:
        return unmeasured(due[-1][1].reason if due else "no check judged it after any step")
    mean = combine(known, lambda values: sum(values) / len(values))
    if len(known) == len(due):
        return mean
    return in_words(mean, f"{len(due) - len(known)} of {len(due)} steps not judged")


def _recovery(steps: Sequence[Place]) -> Reading:
    """Return the time that steps took to recover, added up; null where none had to, or one did not."""
    named = [(place, own["recovery_seconds"]) for place, own in steps]
    known = [(place, one) for place, one in named if one.value is not None]
    # Of a step that was tried again and has no time it is not known, or there was no recovery.
    lost = [place for place, one in named if one.value is None and not one.reason.startswith("no attempt failed")]
    if not known:
        return unmeasured(next((one.reason for place, one in named if place in lost), named[0][1].reason))
    added = combine(known, sum)
    return in_words(added, f"without {', '.join(lost)}, which did not recover") if lost else added
