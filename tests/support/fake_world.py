"""A world in memory for runs: a fake engine, a fake gateway, a folder for evidence, and what steps do in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.planning import make_experiment, make_framework, make_plan

from runner.engine.owner import Owner, current
from runner.engine.protocol import Containers, ContainerSpec, ContainerState
from runner.events import Event, RunFinished
from runner.evidence.layout import RunLayout
from runner.evidence.metrics import read_totals
from runner.evidence.records import RunRecord
from runner.evidence.tree import TreeScan
from runner.evidence.verify import verify_archive
from runner.execution.cancellation import Cancellation
from runner.execution.context import Context
from runner.execution.place import Place
from runner.execution.run import RunDone, perform_run
from runner.gateway.session import Gateway, SessionSpec, Totals
from runner.names import LABEL_KIND, LABEL_RUN, OUT_DIR, SHIM_REPORT
from runner.plan.models import Run
from runner.spec.models import Limits
from runner.testing import NO_CALLS, Box, FakeEngine, FakeGateway, Program

MIB = 1024**2
IMAGE = "sha256:1"
CALLS_OF_A_RUN = (*("volumes.create", "create", "start", "wait", "logs", "usage", "remove", "volumes.remove"),)
"""Every call to the engine that a run without trouble makes, in the order of the first of each kind."""


def tell(box: Box, **told: object) -> None:
    """Leave the entry shim's report."""
    report = {"version": 1, "exit_code": 0, "signal": None, "timed_out": False, "stopped": False, "seconds": 0.5}
    box.path(f"{OUT_DIR}/{SHIM_REPORT}", write=True).write_text(json.dumps(report | told))


def good_step(box: Box) -> int:
    """Add the prompt to a file in the workspace, as a framework that works would."""
    prompt = box.path("/in/prompt.txt").read_text()
    with box.path("app.txt", write=True).open("a") as file:
        file.write(prompt)
    box.burn(0.5)
    box.allocate(32 * MIB)
    box.write(f"did: {prompt}\n".encode())
    tell(box)
    return 0


def meter(spec: SessionSpec) -> Totals:
    """Return what the model calls of a step come to: tens of its number."""
    tokens = {"tokens_in": 10 * spec.index, "tokens_out": spec.index, "tokens_cached": 0}
    return Totals(**{**vars(NO_CALLS), "api_calls": 2, "cost_usd": 0.5, **tokens})


def limits(**changes: float) -> Limits:
    """Return limits that hold a step back for a moment only."""
    return Limits.model_validate({"grace": 0.2, "step_timeout": 30.0, "memory": 256 * MIB, **changes})


@dataclass(kw_only=True)
class World:
    """Everything a run needs, and a way to look at what it left."""

    output: Path
    sockets: Path
    limits: Limits = field(default_factory=limits)
    follow: bool = False
    engine: FakeEngine = field(default_factory=FakeEngine)
    owner: Owner = field(default_factory=current)
    cancellation: Cancellation = field(default_factory=Cancellation)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine.register(good_step)
        self.image = self.engine.add_image("alpha")
        self.gateway: FakeGateway = FakeGateway(self.sockets, meter)

    def runs(self, repetitions: int = 1) -> list[Run]:
        """Plan runs of two steps, `begin` and `extend`."""
        experiment = make_experiment(
            frameworks=("alpha",), scenarios=("build",), repetitions=repetitions, limits=self.limits
        )
        return list(make_plan(experiment, frameworks=(make_framework("alpha"),), image=IMAGE))

    @property
    def run(self) -> Run:
        return self.runs()[0]

    @property
    def context(self) -> Context:
        gateway: Gateway = self.gateway
        return Context(
            engine=self.engine,
            info=self.engine.info(),
            gateway=gateway,
            owner=self.owner,
            output=self.output,
            answers={},
            images={IMAGE: self.image},
            events=self.events.append,
            cancellation=self.cancellation,
            follow=self.follow,
        )

    @property
    def layout(self) -> RunLayout:
        return self.context.layout(self.run)

    def place(self, run: Run) -> Place:
        """Return what a step works on that nothing runs beside, with an empty workspace."""
        layout = self.context.layout(run)
        return Place(
            workspace=layout.workspace,
            volume=self.context.object_name(run),
            state=layout.state,
            read_only=False,
            before=TreeScan(entries={}, files=0, bytes=0),
        )

    def perform(self, program: Program | None = None) -> RunDone:
        """Carry out the run; every step does what `program` says, by default what is asked."""
        if program is not None:
            self.engine.register(program)
        return perform_run(self.context, self.run)

    @property
    def containers_left(self) -> list[str]:
        return [state.name for state in self.engine.observer.find({LABEL_KIND: None})]

    @property
    def volumes_left(self) -> list[str]:
        return [name for name, _ in self.engine.volumes.find({LABEL_RUN: self.run.id})]


def check_finished(world: World, done: RunDone) -> None:
    """Fail unless a run's evidence is complete, consistent and archived, whatever its outcome."""
    record, layout = done.record, world.layout
    assert record.outcome is not None
    assert record.finished_at is not None
    assert bool(record.reason) == (record.outcome != "passed")
    assert [step.id for step in record.steps] == ["begin", "extend"]
    assert RunRecord.model_validate_json(layout.metadata.read_bytes()) == record
    assert read_totals(layout.metrics) == done.totals
    assert record.outcome.replace("_", " ") in layout.readme.read_text()
    for step in record.steps:
        files = layout.step(step.index)
        assert json.loads(files.metadata.read_text())["outcome"] == step.outcome
        assert read_totals(files.metrics)["steps_passed"] == (step.outcome == "passed")
    assert verify_archive(layout.archive("zstd")) == []
    assert world.gateway.open_sessions == {}
    last = world.events[-1]
    assert isinstance(last, RunFinished)
    assert (last.run, last.outcome, last.reason) == (world.run.id, record.outcome, record.reason)


@dataclass
class Hooked:
    """Containers of an engine with something done instead of, or around, some of the calls."""

    inner: Containers
    on_create: Callable[[ContainerSpec, Callable[[ContainerSpec], str]], str] | None = None
    on_wait: Callable[[str, float | None, int], ContainerState | None] | None = None
    waits: int = 0

    def create(self, spec: ContainerSpec) -> str:
        return self.on_create(spec, self.inner.create) if self.on_create else self.inner.create(spec)

    def start(self, container: str) -> None:
        self.inner.start(container)

    def wait(self, container: str, timeout: float | None = None) -> ContainerState | None:
        self.waits += 1
        return self.on_wait(container, timeout, self.waits) if self.on_wait else self.inner.wait(container, timeout)

    def stop(self, container: str, grace: float) -> None:
        self.inner.stop(container, grace)

    def remove(self, container: str) -> None:
        self.inner.remove(container)
