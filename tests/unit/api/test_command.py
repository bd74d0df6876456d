"""A command in a container while its engine is away."""

from __future__ import annotations

import time

import pytest

import runner
from runner.engine.protocol import Unanswered
from runner.events import Event, Notice
from runner.names import LABEL_INPUTS
from runner.testing import Box, FakeEngine

AWAY = "no Docker engine answers at unix:///x"


@pytest.fixture
def engine() -> FakeEngine:
    """Return an engine with an image of ours in which every command says hello."""
    engine = FakeEngine()
    engine.add_image("demo", {LABEL_INPUTS: "0"})

    def hello(box: Box) -> int:
        box.write(b"hello")
        return 0

    engine.register(hello)
    return engine


def absences(engine: FakeEngine, *reasons: str) -> list[str]:
    """Have an engine give these reasons to who looks, one after the other, and then be there; return those left."""
    left = list(reasons)
    engine.absence = lambda: left.pop(0) if left else ""  # type: ignore[method-assign]  # an engine that comes back
    return left


def texts(events: list[Event]) -> list[str]:
    """Return what was told."""
    return [event.text for event in events if isinstance(event, Notice)]


def test_an_engine_that_is_away_is_waited_for(engine: FakeEngine) -> None:
    """The command runs when the engine is back, and who listens hears of the waiting in the words of `runner go`."""
    events: list[Event] = []
    absences(engine, AWAY)
    done = runner.run_command(["x"], image="demo", engine=engine, on_event=events.append)
    assert (done.exit_code, done.stdout, done.error) == (0, b"hello", "")
    assert texts(events) == [f"waiting: {AWAY}", "going on after 1 s"]


def test_an_engine_that_goes_away_meanwhile_is_waited_for(engine: FakeEngine) -> None:
    """A wait whose answer is lost is made again when the engine is back; the command is run once."""
    events: list[Event] = []
    left, plain = absences(engine), engine.containers.wait

    def lose(container: str, timeout: float | None = None) -> object:
        engine.containers.wait = plain  # type: ignore[method-assign]  # only once
        left.append(AWAY)
        raise Unanswered(f"the answer for {container} was lost after {timeout} s")

    engine.containers.wait = lose  # type: ignore[method-assign,assignment]  # an engine that goes away
    done = runner.run_command(["x"], image="demo", engine=engine, on_event=events.append)
    assert (done.exit_code, done.stdout, done.error) == (0, b"hello", "")
    assert texts(events)[0] == f"waiting: {AWAY}"
    assert engine.calls.count("create") == 1


def test_patience_ends(engine: FakeEngine) -> None:
    """An engine that stays away is part of the result, once the patience is over, and nothing was run."""
    engine.away = AWAY
    engine.fail_next("images.inspect", Unanswered(AWAY))
    begun = time.monotonic()
    done = runner.run_command(["x"], image="demo", engine=engine, patience=0.1)
    assert (done.exit_code, done.error) == (None, AWAY)
    assert time.monotonic() - begun < 50  # without a word about it a minute is waited
