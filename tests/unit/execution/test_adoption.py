"""A runner that is killed at any call to the engine: the next one goes on where it was, and does nothing twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_world import World, good_step
from support.frozen import Frozen, Killed, Point

from runner.engine.owner import Owner
from runner.events import Notice
from runner.evidence.history.check import check_history
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.verify import verify_archive
from runner.execution.begun import read_begun
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.execution.recovery import finish_interrupted, sweep_dead
from runner.ledger.store import ledger_path, open_ledger
from runner.plan.models import Run
from runner.testing import Box

_CALLS = ("create", "start", "wait", "logs", "usage", "remove")
_LINE = [Point(call, when, number) for call in _CALLS for when in ("before", "after") for number in (1, 2)]
_ENDS = [Point(call, when) for call in ("volumes.create", "volumes.remove") for when in ("before", "after")]


class Lives:
    """A run that is carried out by one runner after the other, and what its steps were started with."""

    def __init__(self, world: World, dead: Owner) -> None:
        self.world = world
        self.dead = dead
        self.run: Run = world.run
        self.starts: list[str] = []
        self._threads: list[threading.Thread] = []
        self.over = threading.Event()
        self.held = threading.Event()
        """Lets steps end; from the beginning, unless a test says otherwise."""
        self.held.set()
        world.engine.register(self._step)
        world.output.mkdir(exist_ok=True)

    @property
    def layout(self) -> RunLayout:
        return self.world.context.layout(self.run)

    def begin(self, point: Point) -> None:
        """Have a runner carry the run out until it is killed."""
        frozen = Frozen(self.world.engine, point, self.over)
        context = replace(
            self.world.context, owner=replace(self.dead, boot=self.world.owner.boot), engine=frozen.engine
        )

        def carry() -> None:
            with suppress(Killed), open_ledger(ledger_path(self.world.output)) as ledger:
                for _ in carry_out(context, [self.run], ledger, LocalPool(1, self.world.cancellation)):
                    pass

        self._threads.append(threading.Thread(target=carry, daemon=True))
        self._threads[-1].start()
        assert frozen.reached.wait(30)

    def go(self) -> RunRecord:
        """Have the next runner sweep, and carry the run out."""
        world = self.world
        sweep_dead(world.engine, world.owner, world.output.parent, world.output)
        with open_ledger(ledger_path(world.output), alive=lambda one: one == world.owner) as ledger:
            finish_interrupted(world.output, ledger, world.owner)
            done = list(carry_out(world.context, [self.run], ledger, LocalPool(1, world.cancellation)))
            assert [(row.state, row.outcome) for row in ledger.rows()] == [("done", done[0].record.outcome)]
        (found,) = done
        assert RunRecord.model_validate_json(self.layout.metadata.read_bytes()) == found.record
        return found.record

    def end(self) -> None:
        """Have the threads of killed runners end."""
        self.over.set()
        for one in self._threads:
            one.join(30)

    def _step(self, box: Box) -> int:
        self.starts.append(box.path("/in/prompt.txt").read_text())
        code = good_step(box)
        self.held.wait(30)
        return code


@pytest.fixture
def lives(world: World, dead: Owner) -> Iterator[Lives]:
    """The run of two steps."""
    lives = Lives(world, dead)
    yield lives
    lives.end()


def lost(record: RunRecord) -> bool:
    """Tell whether an attempt was lost, of which nothing can be read."""
    return any(one.outcome == "broken" for step in record.steps for one in step.attempts)


def check_whole(lives: Lives, record: RunRecord) -> None:
    """Fail unless a run that was cut off is like one that was not."""
    world, layout = lives.world, lives.layout
    assert (record.outcome, record.reason) == ("passed", "")
    assert (layout.workspace / "app.txt").read_text() == "Begin.Extend."
    assert [step.id for step in record.steps] == ["begin", "extend"]
    assert world.containers_left == world.volumes_left == []
    assert not layout.views.exists()
    assert verify_archive(layout.archive("zstd")) == []
    assert check_history(layout.history) == []
    metrics = json.loads(layout.metrics.read_bytes())
    assert (metrics["tokens_in"], metrics["cpu_seconds"]) == (30, None if lost(record) else 1.0)
    assert not list(world.output.rglob(".tmp-*"))


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
    threading.Timer(0.3, lives.held.set).start()
    record = lives.go()
    check_whole(lives, record)
    assert [[one.attempt for one in step.attempts] for step in record.steps] == [[1], [1]]
    texts = [one.text for one in lives.world.events if isinstance(one, Notice)]
    assert "step begin: its container still runs, and is waited for" in texts


def test_a_container_that_has_ended_is_swept_and_not_done_again(lives: Lives) -> None:
    """What the sweep of any runner removes has been written down before, so that the attempt counts."""
    lives.begin(Point("logs", "before", 2))
    world = lives.world
    swept = sweep_dead(world.engine, world.owner, world.output.parent, world.output)
    assert len(swept.containers) == 1
    assert world.containers_left == []
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]


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
    assert world.engine.containers.wait(begun.container, 10) is not None
    assert sweep_dead(world.engine, world.owner, tmp_path).containers == (begun.container,)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]
