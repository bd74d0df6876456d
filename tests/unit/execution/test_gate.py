"""The gate before runs and attempts, and calls that wait for an engine to come back."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from runner.engine.protocol import Unanswered
from runner.events import Event, Notice
from runner.execution.cancellation import Cancellation
from runner.execution.gate import Gate

PAUSE = 0.01


def _script(*answers: str) -> Callable[[], str]:
    """Return a hindrance that says these things one after the other, and then nothing any more."""
    left = iter(answers)
    return lambda: next(left, "")


def _texts(events: list[Event]) -> list[str]:
    """Return what was told; how long somebody waited depends on how busy the machine is."""
    texts = (event.text for event in events if isinstance(event, Notice))
    return [re.sub(r"after \d+ s$", "after N s", text) for text in texts]


def test_an_open_gate_is_passed_in_silence() -> None:
    """Where nothing hinders, nobody waits and nothing is said."""
    events: list[Event] = []
    Gate([_script()], engine=_script()).pass_(Cancellation(), events.append)
    assert events == []


def test_waiting_begins_and_ends_with_a_word() -> None:
    """Each further reason is told once, and the end of waiting once."""
    events: list[Event] = []
    gate = Gate([_script("full", "full", "paused", "")], pause=PAUSE)
    gate.pass_(Cancellation(), events.append)
    assert _texts(events) == ["waiting: full", "waiting: paused", "going on after N s"]
    assert gate.reason == ""


def test_many_who_wait_are_told_once() -> None:
    """However many wait, there is one notice when it begins and one when it ends."""
    events: list[Event] = []
    shut = threading.Event()
    gate = Gate([lambda: "" if shut.is_set() else "full"], pause=PAUSE)
    crowd = [threading.Thread(target=gate.pass_, args=(Cancellation(), events.append)) for _ in range(8)]
    for one in crowd:
        one.start()
    while not events:
        time.sleep(PAUSE)
    time.sleep(5 * PAUSE)
    assert gate.reason == "full"
    shut.set()
    for one in crowd:
        one.join(60)
    assert [text.split()[0] for text in _texts(events)] == ["waiting:", "going"]


def test_the_user_may_stop_who_waits() -> None:
    """A gate that stays shut keeps nobody who is told to stop."""
    cancellation = Cancellation()
    waiting = threading.Thread(target=Gate([lambda: "full"], pause=200).pass_, args=(cancellation, lambda _: None))
    waiting.start()
    cancellation.cancel()
    waiting.join(60)
    assert not waiting.is_alive()


def _call(*results: Exception | str) -> Callable[[], str]:
    left: Iterator[Exception | str] = iter(results)

    def call() -> str:
        result = next(left)
        if isinstance(result, Exception):
            raise result
        return result

    return call


LOST = Unanswered("lost")


def test_a_call_is_made_again_when_the_engine_is_back() -> None:
    """An engine that was away any number of times is waited for each time."""
    events: list[Event] = []
    gate = Gate(engine=_script(*["away", ""] * 9), pause=PAUSE)
    assert gate.patiently(_call(*[LOST] * 9, "done"), Cancellation(), events.append) == "done"
    assert _texts(events)[:2] == ["waiting: away", "going on after N s"]


def test_a_call_that_a_present_engine_does_not_answer_is_given_up() -> None:
    """An engine that is there, and does not answer, is asked a few times."""
    asked = [LOST] * 9
    with pytest.raises(Unanswered):
        Gate(engine=_script(), pause=PAUSE).patiently(_call(*asked), Cancellation(), lambda _: None)
    gate = Gate(engine=_script(), pause=PAUSE)
    assert gate.patiently(_call(LOST, LOST, LOST, "done"), Cancellation(), lambda _: None) == "done"


def test_a_pause_holds_back_no_call_of_what_runs() -> None:
    """Only the engine's absence does: what has begun is waited for and collected."""
    gate = Gate([lambda: "paused"], engine=_script(), pause=60)
    assert gate.patiently(_call(LOST, "done"), Cancellation(), lambda _: None) == "done"


def test_the_user_may_stop_who_waits_for_the_engine() -> None:
    """Once everything is stopped the error comes through."""
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Unanswered):
        Gate(engine=lambda: "away", pause=60).patiently(_call(LOST, "done"), cancellation, lambda _: None)


def test_who_waits_may_rest_meanwhile() -> None:
    """What is to be entered while waiting is entered for that only, and the gate stays the same for all."""
    rests: list[str] = []

    @contextmanager
    def resting() -> Iterator[None]:
        rests.append("rest")
        yield

    events: list[Event] = []
    gate = Gate([_script("full", "full")], pause=PAUSE)
    mine = gate.beside(resting)
    mine.pass_(Cancellation(), events.append)
    assert rests == ["rest", "rest"]
    gate.pass_(Cancellation(), events.append)
    assert _texts(events) == ["waiting: full", "going on after N s"]
