"""Play the steps of a run on their workspaces, as a driver would, without containers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.fake_world import World
from support.history_world import Picture, picture

from runner.evidence.history.check import check_history
from runner.evidence.history.oci import KeptStep, read_steps
from runner.evidence.history.restore import restore
from runner.evidence.layout import RunLayout
from runner.evidence.records import AttemptRecord, StepRecord
from runner.evidence.tree import scan
from runner.execution.container import prepare_run
from runner.execution.workspaces import Place, Workspaces
from runner.names import LABEL_RUN
from runner.plan.models import PlannedStep, Run

Edit = Callable[[Path], object]


def steps_of(run: Run, *shapes: tuple[str, tuple[str, ...]], **changes: dict[str, Any]) -> Run:
    """Return the run with other steps: the id and the dependencies of each."""
    first = run.steps[0]
    steps = tuple(
        first.model_copy(update={"id": name, "index": index, "depends_on": needs, **changes.get(name, {})})
        for index, (name, needs) in enumerate(shapes, start=1)
    )
    return run.model_copy(update={"steps": steps})


def record_of(step: PlannedStep, *, begun: bool = True) -> StepRecord:
    """Return the record of a step that passed."""
    attempt = AttemptRecord(
        attempt=1,
        container="c",
        image_id="",
        argv=(),
        started_at=None,
        finished_at=None,
        seconds=None,
        exit_code=0,
        signal=None,
        oom_killed=False,
        timed_out=False,
        stdout_bytes=0,
        stderr_bytes=0,
        dropped_bytes=0,
        outcome="passed",
        reason="",
    )
    return StepRecord(
        id=step.id,
        index=step.index,
        title="",
        prompt_sha256="",
        outcome="passed",
        reason="",
        started_at=None,
        finished_at=None,
        changed_files=None,
        attempts=(attempt,) if begun else (),
    )


class Course:
    """Plays the steps of a run, as a driver would."""

    def __init__(self, world: World, run: Run, ended: Sequence[StepRecord] = ()) -> None:
        self.run = run
        self.layout: RunLayout = world.context.layout(run)
        self.engine = world.engine
        self.ended = [*ended]
        self.steps = {step.id: step for step in run.steps}
        self.notes: list[str] = []
        self.pictures: dict[str, Picture] = {}
        prepare_run(self.layout, run)
        self.places = Workspaces(world.context, run, tuple(ended))

    def enter(self, name: str) -> Place:
        """Have a step begin."""
        return self.places.enter(self.steps[name])

    def leave(self, name: str, place: Place) -> None:
        """Have a step end."""
        step, tree = self.steps[name], None
        if place.workspace is not None:
            self.pictures[name] = picture(place.workspace)
            tree = scan(place.workspace)
        record = record_of(step)
        self.notes += self.places.leave(step, tree, record)
        self.ended.append(record)

    def play(self, name: str, *edits: Edit) -> Place:
        """Have a step begin, change its workspace, and end."""
        place = self.enter(name)
        for edit in edits:
            edit(place.workspace or place.state)
        self.leave(name, place)
        return place

    @property
    def trunk(self) -> Path:
        return self.layout.workspace

    @property
    def kept(self) -> dict[str, KeptStep]:
        return {one.id: one for one in read_steps(self.layout.history)}

    def check(self, tmp_path: Path) -> None:
        """Fail unless every step that is kept comes back as it was, and the history proves right."""
        for name, step in self.kept.items():
            target = tmp_path / f"back-{name}"
            restore(self.layout.history, step, target)
            assert picture(target) == self.pictures[name], name
        assert check_history(self.layout.history) == []

    @property
    def volumes(self) -> list[str]:
        return [name for name, _ in self.engine.volumes.find({LABEL_RUN: self.run.id})]
