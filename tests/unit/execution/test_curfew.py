"""The time that one `runner go` may take."""

from __future__ import annotations

import threading

from support.fake_world import World

from runner.events import Event, Notice
from runner.execution.cancellation import Cancellation
from runner.execution.curfew import curfew
from runner.testing import Box


def test_what_runs_when_the_time_is_over_is_cancelled_for_that_reason(world: World) -> None:
    """A run under way ends as cancelled, so that the next `go` does it; the reason names the limit, and not the user."""
    told: list[Event] = []

    def run(box: Box) -> int:
        box.sleep(60)
        return 0

    with curfew(0.2, world.cancellation, told.append):
        done = world.perform(run)
    why = "stopped by limits.experiment_timeout (200ms)"
    assert (done.record.outcome, done.record.reason) == ("cancelled", f"step begin: {why}")
    assert done.record.steps[1].outcome == "skipped"
    assert [one.text for one in told if isinstance(one, Notice)] == [f"{why}: `runner go` goes on with what is left"]


def test_nothing_happens_to_what_is_over_in_time() -> None:
    """A block that ends in time is not cancelled, and leaves no thread behind; neither has one without a limit."""
    cancellation, threads = Cancellation(), set(threading.enumerate())
    for seconds in (60.0, None):
        with curfew(seconds, cancellation, lambda _: None):
            pass
    assert not cancellation.cancelled
    assert set(threading.enumerate()) <= threads


def test_a_childs_reason_is_its_parents() -> None:
    """What is stopped with everything says by what everything was stopped; the first reason stays."""
    parent = Cancellation()
    with parent.child() as child:
        told = threading.Event()
        with child.told(told.set):
            assert child.why == ""
            parent.cancel("for a reason")
            parent.cancel("for another")
            assert told.wait(60)
        assert child.why == parent.why == "for a reason"
