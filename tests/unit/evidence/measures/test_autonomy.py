"""How far a framework came on its own, hand-computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.evidence.measures.autonomy import autonomy, rounds
from runner.evidence.records import AnswerUse, AttemptRecord, DecisionRecord, StepRecord
from runner.gateway.calls import Call

Tried = Callable[..., tuple[AttemptRecord, ...]]
Calls = Callable[..., Call]


def _decided(by: str) -> DecisionRecord:
    times = {"asked_at": "2026-01-01T00:00:00.000Z", "decided_at": "2026-01-01T00:00:00.000Z"}
    return DecisionRecord.model_validate({"decision": "approve", "by": by, **times})


def test_nobody_was_needed(step: StepRecord, tried: Tried) -> None:
    """A step that passed at once and asked nothing: automated, no intervention, no retry, and nothing to recover from."""
    found = autonomy(step.model_copy(update={"attempts": tried("passed")}), [])
    assert {name: one.value for name, one in found.items()} == {
        "automation_rate": 1,
        "human_interventions": 0,
        "retries": 0,
        "recovery_seconds": None,
        "iterations": 0,
    }
    assert found["recovery_seconds"].reason == "no attempt failed, so there was nothing to recover from"


def test_an_answer_stands_for_a_person(step: StepRecord, tried: Tried) -> None:
    """Two of three questions got an answer: two interventions, and the step was not automated."""
    answers = tuple(AnswerUse(question="?", answer_sha256=one) for one in ("0" * 64, None, "1" * 64))
    found = autonomy(step.model_copy(update={"attempts": tried("passed"), "answers": answers}), [])
    assert (found["human_interventions"].value, found["automation_rate"].value) == (2, 0)


@pytest.mark.parametrize(("by", "interventions"), [("person", 1), ("timeout", 0)])
def test_a_decision_counts_that_a_person_took(step: StepRecord, by: str, interventions: int) -> None:
    """An approval has no attempt and yet was performed; a default that was taken needed nobody."""
    found = autonomy(step.model_copy(update={"decision": _decided(by)}), [])
    assert (found["human_interventions"].value, found["automation_rate"].value) == (interventions, 1 - interventions)


def test_retries_are_the_frameworks_own(step: StepRecord, tried: Tried) -> None:
    """Of four attempts that did not pass, three failed by the framework; the broken one was not its try."""
    attempts = tried("failed", "broken", "timed_out", "exceeded", "passed")
    found = autonomy(step.model_copy(update={"attempts": attempts}), [])
    assert found["retries"].value == 3


def test_recovery_lasts_from_the_first_failure_to_the_pass(step: StepRecord, tried: Tried) -> None:
    """Failed after 10 s, failed after 20 s, passed after 30 s: 20 seconds."""
    found = autonomy(step.model_copy(update={"attempts": tried("failed", "failed", "passed")}), [])
    assert (found["recovery_seconds"].value, found["recovery_seconds"].status) == (20.0, "derived")


def test_who_never_passed_did_not_recover(step: StepRecord, tried: Tried) -> None:
    """Null, and the reason is not that nothing failed."""
    found = autonomy(step.model_copy(update={"attempts": tried("failed", "failed")}), [])
    assert found["retries"].value == 1
    assert (found["recovery_seconds"].value, found["recovery_seconds"].reason) == (
        None,
        "no attempt passed after the one that failed",
    )


def test_a_step_not_performed_has_none_of_it(step: StepRecord) -> None:
    """Everything is null."""
    assert all(one.value is None for one in autonomy(step, []).values())


def test_calls_beside_each_other_are_one_round(call: Calls) -> None:
    """0-2, 1-4 and 3-5 overlap in a chain, 5-6 and 8-9 follow: three rounds."""
    assert rounds([call(8, 1), call(0, 2), call(1, 3), call(3, 2), call(5, 1)]) == 3


def test_a_round_ends_within_a_millisecond(call: Calls) -> None:
    """A call that follows at once may seem to begin before the end, as times are cut off to milliseconds."""
    assert rounds([call(1.000, 0.0105), call(1.010, 0.5)]) == 2


def test_rounds_are_those_of_the_step(step: StepRecord, tried: Tried, call: Calls) -> None:
    """Calls of other steps are left out."""
    found = autonomy(step.model_copy(update={"attempts": tried("passed")}), [call(0, 1), call(2, 1, "course")])
    assert found["iterations"].value == 1
