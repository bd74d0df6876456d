"""A run whose first step is performed alone, in a world in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support.fake_world import World, tell

from runner.evidence.layout import StepLayout
from runner.evidence.tree import scan
from runner.execution.container import prepare_run
from runner.execution.context import Context
from runner.execution.place import Place
from runner.execution.step import StepDone, StepOrder, perform_step
from runner.execution.values import Values
from runner.plan.models import PlannedStep, Run
from runner.testing import Box


@dataclass
class Bench:
    """A world with a run in it whose first step is performed alone, with some of its fields changed."""

    world: World
    run: Run
    context: Context | None = None
    """Other hands than the world's."""
    changes: dict[str, Any] = field(default_factory=dict)
    place_changes: dict[str, Any] = field(default_factory=dict)
    again: int = 0
    """How often the step asked to begin again."""
    left: float = 600.0
    rests: list[str] = field(default_factory=list)
    on_rest: Callable[[], None] = lambda: None
    """Done while the step waits for its next attempt."""

    @property
    def files(self) -> StepLayout:
        return self.world.context.layout(self.run).step(1)

    @property
    def place(self) -> Place:
        place = self.world.place(self.run)
        assert place.workspace is not None
        return replace(place, before=scan(place.workspace), **self.place_changes)

    @property
    def step(self) -> PlannedStep:
        return self.run.steps[0].model_copy(update=self.changes)

    def perform(self, **changes: Any) -> StepDone:
        """Perform the step with some of its fields changed."""
        self.changes |= changes
        context = self.context or self.world.context
        layout = context.layout(self.run)
        order = StepOrder(
            context=context,
            run=self.run,
            step=self.step,
            place=self.place,
            again=self._again,
            values=Values(layout, self.run, {}),
            remaining=lambda: self.left,
            resting=self._resting,
        )
        return perform_step(order)

    def _again(self) -> Place:
        self.again += 1
        for path in (self.world.place(self.run).workspace or Path()).iterdir():
            path.unlink()
        return self.place

    @contextmanager
    def _resting(self) -> Iterator[None]:
        self.rests.append("begin")
        self.on_rest()
        yield
        self.rests.append("end")


def idle(box: Box) -> int:
    """Do nothing, and end well."""
    tell(box)
    return 0


def make_bench(world: World) -> Bench:
    """Prepare a run's folders and its volume."""
    run, context = world.run, world.context
    layout = context.layout(run)
    prepare_run(layout, run)
    world.engine.volumes.create(context.object_name(run), device=str(layout.workspace), labels={})
    return Bench(world, run)
