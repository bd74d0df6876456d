"""A run that was cut off is given up, and a pause that lets what was begun come to its end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.frozen import Point
from support.lives import Lives, check_whole
from support.waiting import until

from runner.errors import EngineError
from runner.evidence.records import RunRecord
from runner.evidence.verify import verify_archive
from runner.execution.abandon import cancel_cut_off
from runner.execution.gate import Gate
from runner.execution.recovery import read_record
from runner.ledger.store import ledger_path, open_ledger


def give_up(lives: Lives, tmp_path: Path) -> RunRecord:
    """End the run as `runner cancel` does when no runner is at work."""
    world = lives.world
    me = replace(lives.dead, boot=world.owner.boot)
    record = read_record(lives.layout)
    assert record is not None
    with open_ledger(ledger_path(world.output), alive=lambda one: one == world.owner) as ledger:
        final = cancel_cut_off(world.engine, ledger, me, lives.layout, record, runtime=tmp_path)
        assert [(row.state, row.outcome) for row in ledger.rows()] == [("done", "cancelled")]
    return final


@pytest.mark.parametrize("point", [Point("create", "before"), Point("wait", "before", 2), Point("wait", "after", 2)])
def test_a_run_that_was_cut_off_is_given_up(lives: Lives, tmp_path: Path, point: Point) -> None:
    """It is cancelled with the evidence it has, nothing of it stays in the engine, and the next `go` begins it anew."""
    lives.held.clear()
    if point.number > 1:
        lives.held.set()
    lives.begin(point)
    record = give_up(lives, tmp_path)
    assert (record.outcome, record.reason) == ("cancelled", "stopped by the user")
    assert [step.id for step in record.steps] == (["begin"] if point.number > 1 else [])
    assert read_record(lives.layout) == record
    assert verify_archive(lives.layout.archive("zstd")) == []
    assert lives.world.containers_left == lives.world.volumes_left == []
    assert not lives.layout.views.exists()
    if point == Point("wait", "after", 2):
        assert "did: Extend." in lives.layout.step(2).log("stdout").read_text()
    lives.held.set()
    begun = len(lives.starts)
    check_whole(lives, lives.go())
    assert lives.starts[begun:] == ["Begin.", "Extend."]


@pytest.mark.parametrize("point", [Point("wait", "before"), Point("logs", "before"), Point("wait", "after")], ids=str)
def test_a_pause_holds_back_what_is_new_alone(lives: Lives, point: Point) -> None:
    """A container that a dead runner left is waited for and collected while paused; the next step is not begun."""
    if point == Point("wait", "before"):
        lives.held.clear()
    lives.begin(point)
    wish = ["a demo"]
    context = replace(lives.world.context, gate=Gate([lambda: wish[0]], pause=0.01))
    found: list[RunRecord] = []
    heir = threading.Thread(target=lambda: found.append(lives.go(context)))
    heir.start()
    try:
        lives.held.set()
        until(lives.layout.step(1).metadata.exists, "the step does not begin", 60)
        until(lambda: not lives.world.containers_left, "its container stays", 60)
        time.sleep(0.1)
        assert lives.starts == ["Begin."]
        assert lives.world.containers_left == []
        assert not found
    finally:
        wish[0] = ""
        heir.join(120)
    check_whole(lives, found[0])


def test_a_run_without_a_container_waits(lives: Lives) -> None:
    """One that was cut off before its container was made begins nothing while paused."""
    lives.begin(Point("create", "before"))
    wish = ["a demo"]
    context = replace(lives.world.context, gate=Gate([lambda: wish[0]], pause=0.01))
    found: list[RunRecord] = []
    heir = threading.Thread(target=lambda: found.append(lives.go(context)))
    heir.start()
    time.sleep(0.2)
    assert lives.starts == []
    wish[0] = ""
    heir.join(120)
    check_whole(lives, found[0])


def test_what_the_engine_refuses_leaves_the_run_cut_off(lives: Lives, tmp_path: Path) -> None:
    """A container that cannot be stopped keeps its run from being called cancelled; the next `go` takes it up."""
    lives.held.clear()
    lives.begin(Point("wait", "before"))
    plain = lives.world.engine.containers.stop

    def refuse(container: str, grace: float) -> None:
        raise EngineError(f"{container} is not stopped in {grace:g} s")

    lives.world.engine.containers.stop = refuse  # type: ignore[method-assign]  # an engine that does not want to
    try:
        with pytest.raises(EngineError, match="is not stopped"):
            give_up(lives, tmp_path)
    finally:
        lives.world.engine.containers.stop = plain  # type: ignore[method-assign]  # as before
    record = read_record(lives.layout)
    assert record is not None
    assert record.outcome is None
    lives.held.set()
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]
