"""How far a framework came on its own: human answers, retries, recovery, rounds of model calls.

A person counts where one was needed: a canned answer stands for the person who wrote it, and a decision taken by a
person for an approval counts as one. A question that nobody answered needed nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from runner.evidence.readings import Reading, unmeasured
from runner.evidence.records import AttemptRecord, StepRecord
from runner.gateway.calls import Call

_OWN_FAILURES = frozenset({"failed", "timed_out", "exceeded"})
"""Outcomes of an attempt that are the framework's doing; what broke or was cancelled was not its try."""
_AS_TIMES = 0.001
"""Seconds: calls' times are written with milliseconds, cut off."""
_NAMES = ("automation_rate", "human_interventions", "retries", "recovery_seconds", "iterations")


def autonomy(step: StepRecord, calls: Sequence[Call]) -> Mapping[str, Reading]:
    """Return what a step tells of how far its framework came on its own.

    Args:
        step: its record.
        calls: the run's model calls; those of other steps are left out.

    Returns:
        automation_rate (1 if it took no human answer, else 0), human_interventions, retries, recovery_seconds and
        iterations; all null of a step that was not performed.
    """
    if not step.attempts and step.decision is None:
        return dict.fromkeys(_NAMES, unmeasured("the step was not performed"))
    interventions = human_interventions(step)
    return {
        "automation_rate": Reading(value=int(not interventions), source="records", status="derived"),
        "human_interventions": Reading(value=interventions, source="records"),
        "retries": Reading(value=retries(step.attempts), source="records"),
        "recovery_seconds": recovery(step.attempts),
        "iterations": Reading(
            value=rounds(call for call in calls if call.step == step.id), source="gateway", status="derived"
        ),
    }


def human_interventions(step: StepRecord) -> int:
    """Return how often a person was needed: answers that were given, and a decision that a person took."""
    answered = sum(one.answer_sha256 is not None for one in step.answers)
    return answered + int(step.decision is not None and step.decision.by == "person")


def retries(attempts: Sequence[AttemptRecord]) -> int:
    """Return how many attempts were made because one before failed by the framework's own doing."""
    return sum(one.outcome in _OWN_FAILURES for one in attempts[:-1])


def recovery(attempts: Sequence[AttemptRecord]) -> Reading:
    """Return the seconds from the end of the first failed attempt to the end of the one that passed.

    Null with a reason if no attempt failed, if none passed after it, or if a time is not known.
    """
    failed = next((one for one in attempts if one.outcome in _OWN_FAILURES), None)
    if failed is None:
        return unmeasured("no attempt failed, so there was nothing to recover from")
    if attempts[-1].outcome != "passed":
        return unmeasured("no attempt passed after the one that failed")
    begin, end = failed.finished_at, attempts[-1].finished_at
    if begin is None or end is None:
        return unmeasured("when an attempt ended is not known")
    seconds = datetime.fromisoformat(end).timestamp() - datetime.fromisoformat(begin).timestamp()
    if seconds < 0:
        return unmeasured("the clock was set back between the attempts")
    return Reading(value=round(seconds, 3), source="records", status="derived")


def rounds(calls: Iterable[Call]) -> int:
    """Return how many rounds some model calls make: calls that were under way beside each other are one round."""
    spans = sorted((datetime.fromisoformat(one.time).timestamp(), one.latency_seconds) for one in calls)
    number, reached = 0, float("-inf")
    for begin, length in spans:
        if begin + _AS_TIMES >= reached:
            number, reached = number + 1, begin + length
        reached = max(reached, begin + length)
    return number
