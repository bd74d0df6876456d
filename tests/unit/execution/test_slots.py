"""Places for containers, shared by the runs of an experiment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.execution.cancellation import Cancellation
from runner.execution.slots import Slots

PATIENCE = 60.0


def test_no_more_hold_one_than_there_are() -> None:
    """Of forty that want one of three, three at a time have one, and all get theirs."""
    slots, switch, lock = Slots(3), Cancellation(), threading.Lock()
    inside, most = 0, 0

    def hold(_: int) -> None:
        nonlocal inside, most
        with slots.one(switch) as turn:
            with lock:
                inside += 1
                most = max(most, inside)
            with lock:
                inside -= 1
            with turn.released():
                pass

    with ThreadPoolExecutor(10) as pool:
        assert len(list(pool.map(hold, range(40)))) == 40
    assert most <= 3


def test_who_asked_first_is_served_first() -> None:
    """A place that becomes free goes to the one who has waited longest, even if another asks at that moment."""
    slots, switch, order = Slots(1), Cancellation(), []

    def hold(number: int) -> None:
        with slots.one(switch):
            order.append(number)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(5)]
    with slots.one(switch):
        for number, thread in enumerate(threads):
            thread.start()
            while len(slots._queue) <= number:
                pass
    for thread in threads:
        thread.join(PATIENCE)
    assert order == [0, 1, 2, 3, 4]


def test_a_released_place_is_anothers_meanwhile() -> None:
    """Inside `released` somebody else can have it; after it the holder has it again, and gives it back once."""
    slots, switch = Slots(1), Cancellation()
    with slots.one(switch) as turn:
        with turn.released(), slots.one(switch):
            assert slots._taken == 1
        assert slots._taken == 1
        turn.give_back()
        assert slots._taken == 0
    assert slots._taken == 0


def test_nobody_waits_once_everything_is_stopped() -> None:
    """Who waits goes on without a place, and gives back none."""
    slots, switch = Slots(1), Cancellation()
    entered = threading.Event()

    def want() -> None:
        with slots.one(switch):
            entered.set()

    thread = threading.Thread(target=want)
    with slots.one(switch):
        thread.start()
        assert not entered.wait(0.05)
        switch.cancel()
        assert entered.wait(PATIENCE)
        thread.join(PATIENCE)
        assert slots._taken == 1
    assert slots._taken == 0


def test_what_is_there_already_is_counted_without_waiting() -> None:
    """Three hold one of a single place at once; who waits gets it when the last of them has given it back."""
    slots, switch, entered = Slots(1), Cancellation(), threading.Event()

    def want() -> None:
        with slots.one(switch):
            entered.set()

    thread = threading.Thread(target=want)
    with slots.one(switch, there="a"):
        with slots.one(switch, there="b"), slots.one(switch, there="c"):
            thread.start()
            assert not entered.wait(0.05)
            assert slots._taken == 3
        assert not entered.wait(0.05)
        assert slots._taken == 1
    assert entered.wait(PATIENCE)
    thread.join(PATIENCE)
    assert slots._taken == 0


def test_what_is_expected_is_counted_before_it_is_taken_up() -> None:
    """Nothing begins while containers that are there fill all places; each counts once, and no more when nobody comes."""
    slots, switch, entered = Slots(2), Cancellation(), threading.Event()

    def want() -> None:
        with slots.one(switch):
            entered.set()

    thread = threading.Thread(target=want)
    slots.expect(["a", "b"])
    thread.start()
    assert not entered.wait(0.05)
    with slots.one(switch, there="a"):
        assert slots._taken == 2
        slots.expect_no_more("a".__eq__)
        assert not entered.wait(0.05)
        slots.expect_no_more("b".__eq__)
        assert entered.wait(PATIENCE)
    thread.join(PATIENCE)
    assert slots._taken == 0


def test_who_begins_something_new_settles_first() -> None:
    """A place beyond those that there are is no place for a new container: its holder waits until there are fewer."""
    slots, switch, settled = Slots(1), Cancellation(), threading.Event()

    def go_on() -> None:
        with slots.one(switch, there="a") as turn:
            turn.settle()
            settled.set()

    thread = threading.Thread(target=go_on)
    with slots.one(switch) as first:
        first.settle()
        assert slots._taken == 1, "there are as many as there may be"
        thread.start()
        assert not settled.wait(0.05)
    assert settled.wait(PATIENCE)
    thread.join(PATIENCE)
    assert slots._taken == 0


def test_without_a_number_everybody_has_one() -> None:
    """Unlimited slots are never waited for."""
    slots, switch = Slots(), Cancellation()
    with slots.one(switch), slots.one(switch):
        assert slots.count is None


def test_no_slots_at_all_are_refused() -> None:
    """With none every run would wait for ever."""
    with pytest.raises(ValueError, match="0 slots"):
        Slots(0)
