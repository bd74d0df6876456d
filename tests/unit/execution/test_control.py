"""Requests and a pause, as files that the runner at work looks at."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from support.fake_world import World
from support.waiting import until

from runner.errors import StorageError
from runner.execution.cancellation import Cancellation
from runner.execution.claim import claim, holder, require_free
from runner.execution.control import CONTROL, Control, Pause, ask_to_cancel, end_pause, pause, paused

WISH = Pause(by="ada", since="2030-01-02T03:04:05.000Z", reason="a demo")


def test_a_pause_lasts_until_it_is_ended(tmp_path: Path) -> None:
    """It hinders every runner in the folder, with who wanted it, since when and why; a second wish changes nothing."""
    control = Control(tmp_path)
    assert control.hindrance() == ""
    assert pause(tmp_path, WISH) is None
    assert pause(tmp_path, Pause(by="bob", since="later")) == WISH
    assert Control(tmp_path).hindrance() == f"{WISH}; `runner resume` ends that"
    assert str(WISH) == "ada has paused this folder at 2030-01-02T03:04:05.000Z: a demo"
    assert end_pause(tmp_path) == WISH
    assert end_pause(tmp_path) is None
    assert control.hindrance() == ""


def test_a_pause_that_says_nothing_is_one(tmp_path: Path) -> None:
    """Somebody who makes the file by hand gets what he wants."""
    (tmp_path / CONTROL).mkdir()
    (tmp_path / CONTROL / "paused").touch()
    found = paused(tmp_path)
    assert found is not None
    assert "somebody has paused" in str(found)


def test_one_run_is_stopped_and_no_other(tmp_path: Path, world: World) -> None:
    """A request throws the switch of its run within two looks, and is gone when that run has ended."""
    run = world.run
    everything = Cancellation()
    other = run.model_copy(update={"id": "other-r1-0123456789"})
    with Control(tmp_path) as control:
        with control.steering(run, everything) as mine, control.steering(other, everything) as its:
            request = ask_to_cancel(tmp_path, run.framework.name, run.id)
            until(lambda: mine.cancelled, "the request is not heard", 60)
            assert not its.cancelled
            assert not everything.cancelled
            assert request.exists()
        assert not request.exists()


def test_stopping_everything_stops_each(tmp_path: Path, world: World) -> None:
    """A run's own switch is thrown with the one of all, and at once if that was thrown before."""
    run = world.run
    everything = Cancellation()
    with Control(tmp_path) as control:
        with control.steering(run, everything) as mine:
            everything.cancel()
            until(lambda: mine.cancelled, "what stops all does not stop this one", 60)
        with control.steering(run, everything) as late:
            assert late.cancelled


def test_a_run_that_has_not_begun_is_unwanted_for_this_time(tmp_path: Path, world: World) -> None:
    """The request counts for the runner at work; neither an older one nor a later runner knows of it."""
    run = world.run
    ask_to_cancel(tmp_path, run.framework.name, run.id)
    with Control(tmp_path) as control:
        assert not control.unwanted(run)
        ask_to_cancel(tmp_path, run.framework.name, run.id)
        assert control.unwanted(run)
    assert not Control(tmp_path).unwanted(run)


def test_a_request_that_comes_between_two_looks_is_heard(tmp_path: Path, world: World) -> None:
    """Who was not at work when somebody asked, and is a moment later, is stopped all the same; nothing waits for its turn."""
    run = world.run
    with Control(tmp_path) as control:
        assert not control.unwanted(run)
        request = ask_to_cancel(tmp_path, run.framework.name, run.id)
        until(lambda: not request.exists(), "the request stays")
        with control.steering(run, Cancellation()) as switch:
            assert switch.cancelled
        assert control.unwanted(run)


def test_who_holds_a_folder(tmp_path: Path) -> None:
    """The holder's process is told while it holds the folder, and nobody afterwards; asking disturbs nobody."""
    assert holder(tmp_path) is None
    with claim(tmp_path):
        assert holder(tmp_path) == os.getpid()
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(StorageError, match=rf"process {os.getpid()}\) is at work") as caught:
            require_free(tmp_path)
        assert "runner attach" in caught.value.hint
    assert holder(tmp_path) is None
    require_free(tmp_path)


def test_one_who_only_looks_keeps_nobody_out(tmp_path: Path) -> None:
    """A folder is claimed while others ask who holds it, as those who watch do all the time."""
    over = threading.Event()
    with claim(tmp_path):
        pass

    def look() -> None:
        while not over.is_set():
            holder(tmp_path)

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    try:
        for _ in range(50):
            with claim(tmp_path):
                pass
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()
