"""A run that one runner after the other carries out, each of which may be killed at any call to the engine."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import replace

from support.fake_world import World, good_step
from support.frozen import Frozen, Killed, Point

from runner.engine.owner import Owner
from runner.evidence.history.check import check_history
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.verify import verify_archive
from runner.execution.context import Context
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.execution.recovery import finish_interrupted, sweep_dead
from runner.ledger.store import ledger_path, open_ledger
from runner.plan.models import Run
from runner.testing import Box

_PATIENCE = 120.0
"""Seconds after which what did not come about will not."""


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
        assert frozen.reached.wait(_PATIENCE), f"{point} was not reached"

    def go(self, context: Context | None = None) -> RunRecord:
        """Have the next runner sweep, and carry the run out; with its own hands, if they are given."""
        world, context = self.world, context or self.world.context
        sweep_dead(world.engine, world.owner, world.output.parent, world.output)
        with open_ledger(ledger_path(world.output), alive=lambda one: one == world.owner) as ledger:
            finish_interrupted(world.output, ledger, world.owner)
            done = list(carry_out(context, [self.run], ledger, LocalPool(1, world.cancellation)))
            assert [(row.state, row.outcome) for row in ledger.rows()] == [("done", done[0].record.outcome)]
        (found,) = done
        assert RunRecord.model_validate_json(self.layout.metadata.read_bytes()) == found.record
        return found.record

    def end(self) -> None:
        """Have the threads of killed runners end, and steps that are held."""
        self.over.set()
        self.held.set()
        for one in self._threads:
            one.join(_PATIENCE)

    def _step(self, box: Box) -> int:
        self.starts.append(box.path("/in/prompt.txt").read_text())
        code = good_step(box)
        self.held.wait(_PATIENCE)
        return code


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
