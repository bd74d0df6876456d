"""A runner that is killed at any call to the engine: the next one goes on where it was, and does nothing twice."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_world import World
from support.frozen import Point
from support.lives import Lives, check_whole
from support.waiting import until

from runner.events import Notice
from runner.evidence.records import RunRecord
from runner.execution.begun import read_begun, write_begun
from runner.execution.recovery import sweep_dead
from runner.names import LABEL_CGROUP

_CALLS = ("create", "start", "wait", "logs", "usage", "remove")
_LINE = [Point(call, when, number) for call in _CALLS for when in ("before", "after") for number in (1, 2)]
_ENDS = [Point(call, when) for call in ("volumes.create", "volumes.remove") for when in ("before", "after")]


@pytest.mark.parametrize("point", _LINE, ids=str)
def test_a_killed_runner_is_gone_on_from(lives: Lives, point: Point) -> None:
    """Wherever its runner is killed, each step is performed exactly once, and what it left is the same."""
    lives.begin(point)
    record = lives.go()
    check_whole(lives, record)
    assert lives.starts == ["Begin.", "Extend."]
    never = point.call == "create" or (point.call, point.when) == ("start", "before")
    outcomes = [[one.outcome for one in step.attempts] for step in record.steps]
    assert outcomes[point.number - 1] == (["broken", "passed"] if never else ["passed"])
    assert not (lives.world.output / ".superseded").exists()


@pytest.mark.parametrize("point", _ENDS, ids=str)
def test_killed_at_an_end_of_a_run(lives: Lives, point: Point) -> None:
    """Before the first container the run begins anew; after the last it is only finished."""
    lives.begin(point)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]


def test_a_container_that_runs_is_waited_for(lives: Lives) -> None:
    """The next runner waits for a container that still runs, as the same attempt, and says so."""
    lives.held.clear()
    lives.begin(Point("wait", "before", 1))
    _let_end_once_adopted(lives)
    record = lives.go()
    check_whole(lives, record)
    assert [[one.attempt for one in step.attempts] for step in record.steps] == [[1], [1]]
    assert _ADOPTED in _told(lives)


_ADOPTED = "step begin: its container still runs, and is waited for"


def _told(lives: Lives) -> list[str]:
    return [one.text for one in lives.world.events if isinstance(one, Notice)]


def _let_end_once_adopted(lives: Lives) -> None:
    """Have the container that runs end a moment after the next runner has said that it waits for it."""

    def look() -> None:
        end = time.monotonic() + 60
        while _ADOPTED not in _told(lives) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        lives.held.set()

    threading.Thread(target=look).start()


def test_control_group_of_a_container_that_never_started_goes(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that died at the start may have made it: it is removed with the container that is in the way."""
    lives.begin(Point("start", "before", 1))
    (spec,) = lives.world.engine.specs
    observer, released = type(lives.world.engine.observer), list[str]()
    release = observer.release

    def tell(self: Any, parents: Iterable[str]) -> None:
        released.extend(given := list(parents))
        release(self, given)

    monkeypatch.setattr(observer, "release", tell)
    check_whole(lives, lives.go())
    assert spec.labels[LABEL_CGROUP] in released


@pytest.mark.parametrize("swept", [False, True])
def test_a_container_that_runs_unseen_is_ended(lives: Lives, *, swept: bool) -> None:
    """What the engine takes for never begun, and runs, is ended by who removes it: nothing writes there any more."""
    lives.held.clear()
    lives.begin(Point("start", "after", 1))
    world = lives.world
    (name,) = world.containers_left
    until(lambda: lives.starts, "the step does not begin", 60)
    world.engine.lose_sight(name)
    signals = list[int]()
    box = world.engine.box(name)
    box.signal = signals.append  # type: ignore[assignment,method-assign]
    if swept:
        lives.world.owner = replace(world.owner, boot="another")
    lives.held.set()
    record = lives.go()
    assert signals == [signal.SIGKILL]
    assert record.outcome == "passed"
    assert world.containers_left == []


def test_a_container_that_has_ended_is_swept_and_not_done_again(lives: Lives) -> None:
    """What the sweep of any runner removes has been written down before, so that the attempt counts."""
    lives.begin(Point("logs", "before", 2))
    world = lives.world
    swept = sweep_dead(world.engine, world.owner, world.output.parent, world.output)
    assert len(swept.containers) == 1
    assert world.containers_left == []
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]


def _hours_pass(lives: Lives) -> None:
    """Have more time pass since the attempt under way began than a run may take."""
    for index in (1, 2):
        if (begun := read_begun(lives.layout, index)) is not None and begun.moment is not None:
            write_begun(lives.layout, index, replace(begun, moment=begun.moment - 2 * lives.run.run_timeout))


@pytest.mark.parametrize("number", [1, 2])
def test_time_in_which_no_runner_lived_is_not_the_runs(lives: Lives, number: int) -> None:
    """A container that ended long ago is collected, and the steps after it have the time that it left."""
    lives.begin(Point("logs", "before", number))
    _hours_pass(lives)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]


def test_a_container_that_ran_too_long_is_seen_to_its_end(lives: Lives) -> None:
    """The time of a container that still runs is used up, but it is waited for: nothing of it is left, and it counts."""
    lives.run = lives.run.model_copy(update={"run_timeout": 600.0})
    lives.held.clear()
    lives.begin(Point("wait", "before", 1))
    begun = read_begun(lives.layout, 1)
    assert begun is not None
    write_begun(lives.layout, 1, replace(begun, deadline=600.0))
    _hours_pass(lives)
    _let_end_once_adopted(lives)
    record = lives.go()
    assert [[one.outcome for one in step.attempts] for step in record.steps] == [["passed"], []]
    assert (record.outcome, record.steps[1].reason) == (
        "timed_out",
        "limits.run_timeout was used up before this step",
    )
    assert lives.world.containers_left == lives.world.volumes_left == []


@pytest.mark.parametrize("number", [1, 2])
def test_a_removal_that_ended_half_way_is_completed(lives: Lives, number: int) -> None:
    """A container that is half removed was collected before: it goes, and its attempt counts."""
    lives.begin(Point("remove", "before", number))
    (name,) = lives.world.containers_left
    lives.world.engine.half_remove(name)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]


@pytest.mark.parametrize("anew", [False, True])
def test_a_container_that_somebody_half_removed_is_made_up_for(lives: Lives, *, anew: bool) -> None:
    """Without its evidence the attempt is lost, whether the run goes on or begins anew; the container goes all the same."""
    lives.begin(Point("logs", "before", 1))
    (name,) = lives.world.containers_left
    lives.world.engine.half_remove(name)
    if anew:
        _other_boot(lives)
    record = lives.go()
    assert record.outcome == "passed"
    assert lives.world.containers_left == []
    assert [one.outcome for one in record.steps[0].attempts] == (["passed"] if anew else ["broken", "passed"])


def _spoil(lives: Lives) -> None:
    """Remove the container of the second step, as a person might, after it has worked."""
    lives.begin(Point("wait", "after", 2))
    (name,) = lives.world.containers_left
    lives.world.engine.containers.remove(name)
    (lives.layout.state / "home" / "written").write_text("x")


def test_a_lost_container_is_made_up_for(lives: Lives) -> None:
    """A step whose container is gone is tried again on what it had found; the attempt before it stays on record."""
    _spoil(lives)
    record = lives.go()
    check_whole(lives, record)
    assert lives.starts == ["Begin.", "Extend.", "Extend."]
    assert [one.outcome for one in record.steps[1].attempts] == ["broken", "passed"]
    assert not (lives.layout.state / "home" / "written").exists()
    assert any("attempt 1 does not count" in note for note in record.notes)


def test_without_history_the_run_is_done_again(world: World, lives: Lives) -> None:
    """What cannot be put back is said, the run begins anew from its first step, and the other one is kept."""
    lives.run = world.run.model_copy(update={"history": "off"})
    _spoil(lives)
    record = lives.go()
    assert record.outcome == "passed"
    assert lives.starts == ["Begin.", "Extend.", "Begin.", "Extend."]
    (kept,) = (world.output / ".superseded" / "alpha").iterdir()
    found = RunRecord.model_validate_json((kept / "metadata.json").read_bytes())
    assert found.outcome == "broken"
    assert "app.txt was changed, and the history has not got it" in found.reason


def _other_boot(lives: Lives) -> None:
    lives.world.owner = replace(lives.world.owner, boot="another")


def _half_merged(lives: Lives) -> None:
    (lives.layout.views / "merging").touch()


@pytest.mark.parametrize("change", [_other_boot, _half_merged])
def test_what_may_not_be_whole_is_done_again(lives: Lives, change: Callable[[Lives], None]) -> None:
    """After a restart of the machine, or in the middle of a merge, a run is not gone on with."""
    lives.begin(Point("wait", "after", 2))
    change(lives)
    record = lives.go()
    assert record.outcome == "passed"
    assert lives.starts == ["Begin.", "Extend."] * 2
    assert len(list((lives.world.output / ".superseded" / "alpha").iterdir())) == 1
    assert lives.world.containers_left == []


def test_a_runner_is_killed_again_and_again(lives: Lives) -> None:
    """One runner after the other is killed in the same step, and all that counts is still done once."""
    lives.held.clear()
    lives.begin(Point("wait", "before", 1))
    lives.begin(Point("wait", "before", 1))
    lives.held.set()
    lives.begin(Point("remove", "after", 1))
    lives.begin(Point("start", "after", 1))
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]


def test_other_folders_are_left_while_somebody_is_at_work(lives: Lives, tmp_path: Path) -> None:
    """A sweep from elsewhere leaves what runs, and collects what has ended only if no runner holds that folder."""
    lives.held.clear()
    lives.begin(Point("wait", "before", 1))
    world = lives.world
    assert sweep_dead(world.engine, world.owner, tmp_path).containers == ()
    lives.held.set()
    begun = read_begun(lives.layout, 1)
    assert begun is not None
    assert world.engine.containers.wait(begun.container, 60) is not None
    assert sweep_dead(world.engine, world.owner, tmp_path).containers == (begun.container,)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]
