"""A runner that is to run fewer containers at once than those that the one before it left running."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from support.fake_world import World, good_step
from support.frozen import Frozen, Killed, Point

from runner.engine.owner import Owner
from runner.events import Notice
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.execution.gate import Gate
from runner.execution.recovery import finish_interrupted, sweep_dead
from runner.execution.run import RunDone
from runner.execution.slots import Slots
from runner.ledger.store import ledger_path, open_ledger
from runner.names import LABEL_RUN
from runner.plan.models import Run
from runner.testing import Box

LEFT = 3
"""Containers that the first runner leaves running."""
PATIENCE = 60.0


class Stage:
    """Runs whose steps end when they are told to, one runner that is killed, and the next one."""

    def __init__(self, world: World, dead: Owner) -> None:
        self.world, self.dead = world, dead
        self.runs: list[Run] = world.runs(LEFT + 1)
        self.changed = threading.Condition()
        self.starts: list[tuple[str, str]] = []
        self.busy: set[str] = set()
        """Runs of which a container runs."""
        self.most = 0
        """Most containers that ran when one of them had just begun, since this was set last."""
        self.may_end: set[str] = set()
        self.over = threading.Event()
        self.paused = ""
        self.done: list[RunDone] = []
        self.threads: list[threading.Thread] = []
        world.engine.register(self._step)
        world.output.mkdir(exist_ok=True)

    def _step(self, box: Box) -> int:
        run = box.spec.labels[LABEL_RUN]
        code = good_step(box)
        with self.changed:
            self.starts.append((run, box.path("/in/prompt.txt").read_text()))
            self.busy.add(run)
            self.most = max(self.most, len(self.busy))
            self.changed.notify_all()
            self.changed.wait_for(lambda: run in self.may_end, PATIENCE)
            self.busy.discard(run)
            self.changed.notify_all()
        return code

    def expect_starts(self, number: int) -> None:
        """Wait until so many containers have begun."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.starts) >= number, PATIENCE), self.starts

    def expect_busy(self, *runs: Run) -> None:
        """Wait until containers of just these runs run."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.busy == {run.id for run in runs}, PATIENCE), self.busy

    def let_end(self, *runs: Run) -> None:
        """Let the containers of runs end, now and later."""
        with self.changed:
            self.may_end |= {run.id for run in runs}
            self.changed.notify_all()

    def kill(self) -> None:
        """Have a runner begin three runs, and end when their first steps run."""
        frozen = Frozen(self.world.engine, Point("start", "after", LEFT), self.over)
        context = replace(
            self.world.context, owner=replace(self.dead, boot=self.world.owner.boot), engine=frozen.engine
        )

        def carry() -> None:
            with suppress(Killed), open_ledger(ledger_path(self.world.output)) as ledger:
                for _ in carry_out(context, self.runs[:LEFT], ledger, LocalPool(LEFT, self.world.cancellation)):
                    pass

        self._start(carry)
        assert frozen.reached.wait(PATIENCE)
        self.expect_starts(LEFT)

    def begin(self, jobs: int) -> None:
        """Have the next runner carry out all runs."""
        world = self.world
        gate = Gate([lambda: self.paused], pause=0.05)
        context = replace(world.context, slots=Slots(jobs), gate=gate)

        def carry() -> None:
            sweep_dead(world.engine, world.owner, world.output.parent, world.output)
            with open_ledger(ledger_path(world.output), alive=lambda one: one == world.owner) as ledger:
                finish_interrupted(world.output, ledger, world.owner)
                # The run that has not begun is planned first: those that run come before it all the same.
                ordered = [self.runs[LEFT], *self.runs[:LEFT]]
                self.done = list(carry_out(context, ordered, ledger, LocalPool(jobs, world.cancellation)))

        self._start(carry)

    def expect_adopted(self) -> None:
        """Wait until the next runner has said of each container that it waits for it."""
        wanted = {run.id for run in self.runs[:LEFT]}
        end = threading.Event()
        for _ in range(int(PATIENCE / 0.02)):
            told = [one.run for one in self.world.events if isinstance(one, Notice) and "still runs" in one.text]
            if set(told) == wanted:
                return
            end.wait(0.02)
        pytest.fail(f"of {sorted(wanted)} only {told} are waited for")

    def _start(self, work: object) -> None:
        self.threads.append(threading.Thread(target=work, daemon=True))  # type: ignore[arg-type]  # both are callables
        self.threads[-1].start()

    def end(self) -> None:
        self.let_end(*self.runs)
        self.threads[-1].join(PATIENCE)
        self.over.set()
        for one in self.threads:
            one.join(PATIENCE)


def test_all_that_run_are_adopted_and_nothing_new_begins(world: World, dead: Owner) -> None:
    """Three containers run; the next runner, of one job, paused at first, waits for all three and begins nothing.

    Nor does it when the pause is over, nor when two have ended: only when fewer than one run. Nothing is done twice.
    """
    stage = Stage(world, dead)
    stage.kill()
    stage.paused = "ada has paused this folder"
    stage.begin(jobs=1)
    stage.expect_adopted()
    stage.paused = ""
    threading.Event().wait(0.3)
    assert len(stage.starts) == LEFT
    stage.most = 0
    stage.let_end(*stage.runs[:2])
    stage.expect_busy(stage.runs[2])
    threading.Event().wait(0.3)
    assert len(stage.starts) == LEFT
    stage.expect_busy(stage.runs[2])
    stage.let_end(stage.runs[2])
    stage.expect_starts(LEFT + 1)
    stage.end()
    assert stage.most == 1, "from then on one runs at a time"
    assert [done.record.outcome for done in stage.done] == ["passed"] * (LEFT + 1)
    assert Counter(stage.starts) == Counter((run.id, text) for run in stage.runs for text in ("Begin.", "Extend."))
    assert world.containers_left == []


def test_a_pause_lasts_for_what_comes_after_what_was_adopted(world: World, dead: Owner) -> None:
    """While nothing new is to begin, containers that run are seen to their end, and their runs go no further."""
    stage = Stage(world, dead)
    stage.kill()
    stage.paused = "ada has paused this folder"
    stage.begin(jobs=1)
    stage.expect_adopted()
    stage.let_end(*stage.runs)
    for _ in range(int(PATIENCE / 0.02)):
        if not world.containers_left:
            break
        threading.Event().wait(0.02)
    assert world.containers_left == []
    assert len(stage.starts) == LEFT
    stage.paused = ""
    stage.end()
    assert [done.record.outcome for done in stage.done] == ["passed"] * (LEFT + 1)


def test_what_was_lost_waits_for_its_turn(world: World, dead: Owner) -> None:
    """Of three containers one is gone: its step is tried again, but not while the others are more than the jobs."""
    stage = Stage(world, dead)
    stage.kill()
    lost = stage.runs[0]
    (gone,) = (one for one in world.engine.observer.find({LABEL_RUN: lost.id}))
    stage.let_end(lost)
    world.engine.containers.wait(gone.id, PATIENCE)
    world.engine.containers.remove(gone.id)
    stage.begin(jobs=1)
    threading.Event().wait(0.5)
    assert len(stage.starts) == LEFT
    stage.let_end(*stage.runs)
    stage.end()
    assert [done.record.outcome for done in stage.done] == ["passed"] * (LEFT + 1)
    assert Counter(stage.starts)[lost.id, "Begin."] == 2
