"""The local executor, on plain values: it never looks inside a run."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from runner.execution.cancellation import Cancellation
from runner.execution.executors.local import LocalPool


def _runs(count: int) -> Any:
    return cast("Any", range(count))


def _number(run: Any) -> int:
    return int(run)


def test_never_more_than_jobs_at_once_and_all_performed() -> None:
    """Forty runs on four slots: each once, four at a time and not more."""
    busy, most, lock, gate = 0, 0, threading.Lock(), threading.Barrier(4)

    def perform(run: Any) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        gate.wait(timeout=60)
        with lock:
            busy -= 1
        return int(run)

    assert sorted(LocalPool(4, Cancellation()).map(perform, _runs(40))) == list(range(40))
    assert most == 4


def test_runs_start_in_the_order_given() -> None:
    """One slot performs runs in plan order."""
    assert list(LocalPool(1, Cancellation()).map(_number, _runs(5))) == list(range(5))


def test_nothing_starts_once_cancelled() -> None:
    """After the switch is thrown runs under way end, and no other begins."""
    switch, started = Cancellation(), []

    def perform(run: Any) -> int:
        started.append(run)
        if run == 1:
            switch.cancel()
        return int(run)

    assert list(LocalPool(1, switch).map(perform, _runs(10))) == [0, 1]
    assert started == [0, 1]


def test_some_start_at_once_however_few_go_otherwise() -> None:
    """Three are under way already: they start together on one slot, and what comes after them one by one."""
    busy, most, lock, together = 0, 0, threading.Lock(), threading.Barrier(3)

    def perform(run: Any) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy) if run >= 3 else most
        if run < 3:
            together.wait(timeout=60)
        with lock:
            busy -= 1
        return int(run)

    done = list(LocalPool(1, Cancellation()).map(perform, _runs(6), at_once=3))
    assert (sorted(done[:3]), done[3:]) == ([0, 1, 2], [3, 4, 5])
    assert most == 1


def test_runs_are_taken_lazily() -> None:
    """A plan of a million runs is not submitted at once."""
    taken = []

    def endless() -> Any:
        for number in range(1000):
            taken.append(number)
            yield number

    results = LocalPool(2, Cancellation()).map(lambda run: run, cast("Any", endless()))
    next(results)
    assert len(taken) < 10
    results.close()  # type: ignore[attr-defined]  # generators have it


def test_an_error_ends_the_map_after_what_is_under_way() -> None:
    """An exception reaches the caller, but a run that had begun is still finished."""
    ended, both = [], threading.Barrier(2)

    def perform(run: Any) -> int:
        both.wait(timeout=60)
        if run == 0:
            raise OSError("disk")
        threading.Event().wait(0.1)
        ended.append(run)
        return int(run)

    with pytest.raises(OSError, match="disk"):
        list(LocalPool(2, Cancellation()).map(perform, _runs(2)))
    assert ended == [1]
