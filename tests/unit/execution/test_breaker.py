"""Stopping an experiment whose runs break one after another for the same reason."""

from __future__ import annotations

import pytest
from support.fake_world import World

from runner.evidence.records import RunRecord
from runner.execution.breaker import Breaker, fold
from runner.execution.run import perform_run


@pytest.fixture
def record(world: World) -> RunRecord:
    """Return the record of some run, to be changed."""
    return perform_run(world.context, world.run).record


def _ended(record: RunRecord, outcome: str, reason: str = "") -> RunRecord:
    return record.model_copy(update={"outcome": outcome, "reason": reason})


def _disk(number: int) -> str:
    return f"step s{number}: cannot write /runs/r{number}/a.txt: No space left on device ({number} bytes)"


def test_the_same_reason_in_a_row_stops(record: RunRecord) -> None:
    """The third run that breaks alike is the one that stops, said once; steps, paths and numbers may differ."""
    breaker = Breaker(3)
    assert [breaker.count(_ended(record, "broken", _disk(number))) for number in range(5)] == [
        *(False, False, True),
        *(False, False),
    ]
    assert breaker.why == f"3 runs in a row broke for the same reason: {_disk(2)}"


@pytest.mark.parametrize(
    ("outcome", "reason"), [("passed", ""), ("failed", "exit code 1"), ("broken", "the engine lost the container")]
)
def test_anything_else_in_between_begins_anew(record: RunRecord, outcome: str, reason: str) -> None:
    """A run that did not break, or for another reason, ends the row."""
    breaker = Breaker(3)
    for one in (*[_ended(record, "broken", _disk(1))] * 2, _ended(record, outcome, reason)):
        breaker.count(one)
    for _ in range(2):
        assert not breaker.count(_ended(record, "broken", _disk(1)))
    assert breaker.count(_ended(record, "broken", _disk(1)))


def test_what_was_cancelled_or_waits_tells_nothing(record: RunRecord) -> None:
    """It neither lengthens a row nor ends it."""
    breaker = Breaker(2)
    breaker.count(_ended(record, "broken", _disk(1)))
    assert not breaker.count(_ended(record, "cancelled", "stopped by the user"))
    assert not breaker.count(record.model_copy(update={"outcome": None, "reason": ""}))
    assert breaker.count(_ended(record, "broken", _disk(1)))


def test_zero_never_stops(record: RunRecord) -> None:
    """Who wants to go on whatever breaks, does."""
    breaker = Breaker(0)
    assert not any(breaker.count(_ended(record, "broken", _disk(1))) for _ in range(9))
    assert breaker.why == ""


def test_one_is_enough_if_asked_for(record: RunRecord) -> None:
    """The words fit a single run."""
    breaker = Breaker(1)
    assert breaker.count(_ended(record, "broken", "no key"))
    assert breaker.why == "1 run broke for the same reason: no key"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("step a: cgr-x-1f3 is gone", "step b: cgr-y-77a is gone", True),
        ("cannot read /a/b: denied", "cannot read /c: denied", True),
        ("after 3 tries", "after 14 tries", True),
        ("no key", "no price", False),
        ("cannot read /a: denied", "cannot write /a: denied", False),
    ],
)
def test_reasons_are_compared_in_substance(one: str, other: str, *, alike: bool) -> None:
    """Names with digits, numbers and paths are folded; words are not."""
    assert (fold(one) == fold(other)) is alike
