"""Approvals: what is asked and what was decided stands in the run's directory, once."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest
from support.fake_world import World

from runner.errors import StorageError
from runner.evidence.layout import RunLayout
from runner.evidence.records import Suspension
from runner.execution.approvals import Answer, answer, ask, decided, post, posted, read_answer
from runner.plan.models import PlannedApproval

NOON = 1767268800.0
"""2026-01-01 12:00 UTC."""


def _answer(decision: Literal["approve", "reject"] = "approve", at: str = "12:00:30", message: str = "") -> Answer:
    return Answer(step="release", decision=decision, message=message, decided_at=f"2026-01-01T{at}.000Z")


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return the layout of an empty run directory."""
    return RunLayout(tmp_path)


@pytest.fixture
def asked(world: World) -> Suspension:
    """Return a question that is open for a minute from noon on, and then counts as rejected."""
    step = world.run.steps[1].model_copy(
        update={"id": "release", "index": 7, "approval": PlannedApproval(message="Go on?", timeout=60.0)}
    )
    return ask(world.run, step, "Go on with 3?", NOON)


def test_question_says_until_when(asked: Suspension) -> None:
    """A question has its filled-in message, when it was asked, until when it is open, and what counts then."""
    assert asked.model_dump() == {
        "step": "release",
        "index": 7,
        "message": "Go on with 3?",
        "asked_at": "2026-01-01T12:00:00.000Z",
        "until": "2026-01-01T12:01:00.000Z",
        "default": "reject",
    }


def test_only_an_approval_asks(world: World) -> None:
    """A step of another kind has no question."""
    with pytest.raises(ValueError, match=r"step begin of .* is no approval"):
        ask(world.run, world.run.steps[0], "?", NOON)


def test_question_can_be_read_again(layout: RunLayout, asked: Suspension) -> None:
    """What was posted is found by its position; without a question, or with a damaged one, there is none."""
    assert posted(layout, 7) is None
    post(layout, asked)
    assert posted(layout, 7) == asked
    layout.question(7).write_text("{")
    assert posted(layout, 7) is None


def test_nobody_has_decided(layout: RunLayout, asked: Suspension) -> None:
    """As long as there is time and no decision, there is none."""
    assert decided(layout, asked, NOON + 59.9) is None
    assert decided(layout, asked.model_copy(update={"until": None}), NOON + 1e9) is None


@pytest.mark.parametrize("default", ["approve", "reject"])
def test_default_counts_when_the_time_is_up(layout: RunLayout, asked: Suspension, default: str) -> None:
    """Once its time is up the default is the decision, taken at that time and not when somebody looks."""
    found = decided(layout, asked.model_copy(update={"default": default}), NOON + 5000)
    assert found is not None
    assert (found.decision, found.by, found.decided_at) == (default, "timeout", asked.until)
    assert (found.message, found.message_sha256, found.question) == ("", "", "Go on with 3?")


def test_a_person_decides(layout: RunLayout, asked: Suspension) -> None:
    """A decision in time counts, also long after; the record has its words and their digest."""
    assert answer(layout, 7, _answer("reject", message="too slow \u2013 again")) is None
    found = decided(layout, asked, NOON + 5000)
    assert found is not None
    assert (found.decision, found.by, found.message) == ("reject", "person", "too slow \u2013 again")
    assert found.message_sha256 == hashlib.sha256("too slow \u2013 again".encode()).hexdigest()
    assert (found.asked_at, found.decided_at) == ("2026-01-01T12:00:00.000Z", "2026-01-01T12:00:30.000Z")


def test_a_decision_that_comes_too_late_counts_for_nothing(layout: RunLayout, asked: Suspension) -> None:
    """Who decides when the time is up does not change what counts already."""
    answer(layout, 7, _answer("approve", at="12:01:00"))
    found = decided(layout, asked, NOON + 5000)
    assert found is not None
    assert (found.decision, found.by) == ("reject", "timeout")


def test_first_decision_counts(layout: RunLayout) -> None:
    """Of several who decide at once one is taken, whole, and each of the others is told which."""
    given = [_answer("approve" if number % 2 else "reject", message=str(number)) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda one: answer(layout, 7, one), given))
    assert told.count(None) == 1
    winner = given[told.index(None)]
    assert read_answer(layout, 7) == winner
    assert {one for one in told if one is not None} == {winner}
    assert [path.name for path in layout.decision(7).parent.iterdir()] == ["step_007.json"]


@pytest.mark.parametrize("content", ["", "{}", '{"step": "release", "decision": "maybe", "decided_at": ""}'])
def test_a_damaged_decision_is_no_decision_of_ours(layout: RunLayout, asked: Suspension, content: str) -> None:
    """A decision that cannot be read is an error that names the file: neither yes nor no may be guessed."""
    layout.decision(7).parent.mkdir()
    layout.decision(7).write_text(content)
    with pytest.raises(StorageError) as caught:
        decided(layout, asked, NOON)
    assert caught.value.where == str(layout.decision(7))


def test_format_on_disk(layout: RunLayout) -> None:
    """The file is versioned JSON that a script can write as well."""
    answer(layout, 7, _answer(message="fine"))
    assert json.loads(layout.decision(7).read_text()) == {
        "version": 1,
        "step": "release",
        "decision": "approve",
        "message": "fine",
        "decided_at": "2026-01-01T12:00:30.000Z",
    }
