"""Times of day that are set in the middle of an attempt: what is recorded comes from clocks that only go forward."""

from __future__ import annotations

import threading
import time
from unittest import mock

import pytest
from support.fake_world import World, good_step, tell
from support.frozen import Point
from support.lives import Lives, check_whole

from runner.testing import Box, FakeEngine


def _set_time(engine: FakeEngine, seconds: float) -> None:
    """Have the engine note the start of its containers as if the time of day were set since."""
    for one in engine._world.containers.values():
        assert one.started_at is not None
        one.started_at -= seconds


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_duration_is_no_difference_of_times_of_day(world: World, jump: float) -> None:
    """Two hours forward or back change no attempt's duration, and no outcome."""

    def program(box: Box) -> int:
        _set_time(world.engine, jump)
        return good_step(box)

    done = world.perform(program)
    assert done.record.outcome == "passed"
    for step in done.record.steps:
        seconds = step.attempts[0].seconds
        assert seconds is not None
        assert 0 <= seconds < 600


def test_a_jump_is_no_timeout(world: World) -> None:
    """A command that returns 124 by itself has failed, although by the time of day its deadline has passed."""

    def program(box: Box) -> int:
        _set_time(world.engine, 7200.0)
        tell(box, exit_code=124)
        return 124

    done = world.perform(program)
    assert done.record.reason == "step begin: exit code 124"


def test_the_shim_is_believed_no_more_than_can_be(world: World) -> None:
    """A report of a longer time than the runner has waited changes nothing."""

    def program(box: Box) -> int:
        good_step(box)
        tell(box, seconds=86400.0)
        return 0

    done = world.perform(program)
    assert (done.record.steps[0].attempts[0].seconds or 0) < 600


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_between_two_runners_ends_nothing(lives: Lives, jump: float) -> None:
    """A container that a dead runner left is neither overdue, nor is its run's time used up, because the time was set."""
    lives.held.clear()
    lives.begin(Point("wait", "before"))
    plain = time.time

    def shifted() -> float:
        return plain() + jump

    with mock.patch("time.time", shifted):
        threading.Timer(0.3, lives.held.set).start()
        record = lives.go()
    check_whole(lives, record)
    assert lives.starts == ["Begin.", "Extend."]
    assert [[one.outcome for one in step.attempts] for step in record.steps] == [["passed"], ["passed"]]
