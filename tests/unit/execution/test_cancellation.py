"""The switch that stops work."""

from __future__ import annotations

import threading

from runner.execution.cancellation import Cancellation


def test_everyone_registered_is_told_once() -> None:
    """Throwing the switch twice calls each registered callback exactly once."""
    switch, told, seen = Cancellation(), threading.Semaphore(0), []

    def callback() -> None:
        seen.append(1)
        told.release()

    with switch.told(callback), switch.told(callback):
        switch.cancel()
        switch.cancel()
        assert told.acquire(timeout=60)
        assert told.acquire(timeout=60)
        assert not told.acquire(timeout=0.05)
    assert switch.cancelled
    assert len(seen) == 2


def test_registering_late_is_told_at_once() -> None:
    """A container that starts while the switch is already thrown is stopped too."""
    switch, seen = Cancellation(), []
    switch.cancel()
    with switch.told(lambda: seen.append(1)):
        assert seen == [1]


def test_what_has_ended_is_not_told() -> None:
    """After its block a callback is forgotten."""
    switch, seen = Cancellation(), []
    with switch.told(lambda: seen.append(1)):
        pass
    switch.cancel()
    assert seen == []


def test_a_slow_callback_delays_no_other() -> None:
    """Callbacks run side by side, so that one hanging engine call does not keep others running."""
    switch, never, told = Cancellation(), threading.Event(), threading.Event()

    def hang() -> None:
        never.wait(120)

    with switch.told(hang), switch.told(told.set):
        switch.cancel()
        assert told.wait(60)
        never.set()
