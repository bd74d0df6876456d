#!/usr/bin/env python3
"""Measure what a graph of steps costs besides the steps: the driver alone with 1,000 of them, and whole runs on a fake engine.

The graph has layers of 10 steps, each of which waits for all of the layer before it. The steps do nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import Literal

from reporting import report

from runner.engine.owner import current
from runner.evidence.layout import RunLayout
from runner.execution.cancellation import Cancellation
from runner.execution.context import Context
from runner.execution.graph import Consideration, drive
from runner.execution.run import perform_run
from runner.execution.slots import Slots, Turn
from runner.names import OUT_DIR, SHIM_REPORT
from runner.plan.graph import placements
from runner.plan.models import ImageRef, PlannedStep, Run
from runner.plan.schedule import PASSED, Schedule, Verdict
from runner.spec.models import Framework, Limits, PypiSource, SmokeTest
from runner.testing import Box, FakeEngine

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench-scheduling"
STEPS, WIDTH, SLOTS = 1000, 10, 4
ROUNDS = 5
"""Of driving."""
RUN_STEPS, RUN_ROUNDS = 300, 3
"""Of whole runs, in turn: how long a disk takes changes from minute to minute."""
IMAGE = "sha256:1"

THRESHOLDS = {"graph_drive_milliseconds_per_step": 2.0, "graph_run_ratio": 1.0, "view_milliseconds_per_step": 25.0}
"""Figure -> largest value that is accepted."""


class Nothing:
    """Hands that have nothing to do."""

    def consider(self, step: PlannedStep) -> Consideration:  # noqa: ARG002  the seam's
        return "perform"

    def begun_before(self, step: PlannedStep) -> str:  # noqa: ARG002  the seam's
        return ""

    def perform(self, step: PlannedStep, turn: Turn | None) -> Verdict:  # noqa: ARG002  the seam's
        return PASSED

    def skip(self, step: PlannedStep, cause: str, *, counts: bool) -> Verdict:
        raise AssertionError(f"{step.id} was skipped for {cause}, which counts: {counts}")


def main() -> int:
    """Print the figures as JSON; return 1 if one is beyond its threshold, else 0."""
    return report(measure(), THRESHOLDS)


def measure() -> dict[str, float]:
    """Return every figure; what was made for it is removed.

    `graph_run_ratio` compares a whole run of the graph, with its records and metrics, with the same steps one
    after the other, as every list of steps is carried out; no step sees a workspace. `view_milliseconds_per_step` is what
    a step of the graph takes longer because it gets a view of the workspace to itself, which is merged.
    """
    graph = layers(WIDTH, "none")
    driven = [time_drive(graph) for _ in range(ROUNDS)]
    runs = {
        "line": layers(1, "none", RUN_STEPS),
        "graph": layers(WIDTH, "none", RUN_STEPS),
        "views": layers(WIDTH, "own", RUN_STEPS),
    }
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        rounds = [{name: time_run(steps, name) for name, steps in runs.items()} for _ in range(RUN_ROUNDS)]
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    in_line, as_graph, with_views = (median(one[name] for one in rounds) for name in runs)
    analysed = time.perf_counter()
    placements(graph)
    return {
        "graph_analysis_seconds": time.perf_counter() - analysed,
        "graph_drive_milliseconds_per_step": 1000 * median(driven) / STEPS,
        "graph_run_seconds": as_graph,
        "linear_run_seconds": in_line,
        "graph_run_ratio": as_graph / in_line,
        "view_milliseconds_per_step": 1000 * (with_views - as_graph) / RUN_STEPS,
    }


def layers(width: int, workspace: Literal["own", "none"], count: int = STEPS) -> tuple[PlannedStep, ...]:
    """Return the steps, in layers of `width`, and what each sees of the workspace."""
    found: list[PlannedStep] = []
    for place in range(count):
        before = range((place // width - 1) * width, place // width * width)
        found.append(
            PlannedStep(
                id=f"s{place:04d}",
                index=place + 1,
                title="",
                prompt="Do nothing.",
                prompt_sha256=hashlib.sha256(b"Do nothing.").hexdigest(),
                expect_changes=False,
                limits=Limits(),
                workspace=workspace,
                depends_on=tuple(found[one].id for one in before if one >= 0),
            )
        )
    return tuple(found)


def time_drive(steps: tuple[PlannedStep, ...]) -> float:
    """Return the seconds that driving takes when no step takes any."""
    begun = time.perf_counter()
    drive(Schedule(steps), Nothing(), Slots(SLOTS), Cancellation(), inline=False)
    return time.perf_counter() - begun


def time_run(steps: tuple[PlannedStep, ...], name: str) -> float:
    """Return the seconds that a whole run takes on an engine whose containers end at once."""
    engine = FakeEngine()
    engine.register(_nothing)
    image = engine.add_image("noop")
    context = Context(
        engine=engine,
        info=engine.info(),
        gateway=None,
        owner=current(),
        output=FOLDER,
        answers={},
        images={IMAGE: image},
        events=lambda _: None,
        cancellation=Cancellation(),
        slots=Slots(SLOTS),
    )
    run = _run(steps, name)
    begun = time.perf_counter()
    done = perform_run(context, run)
    seconds = time.perf_counter() - begun
    if (done.record.outcome, len(done.record.steps)) != ("passed", len(steps)):
        raise SystemExit(f"the run {done.record.outcome}: {done.record.reason}")
    shutil.rmtree(RunLayout(FOLDER / "noop").root)
    return seconds


def _nothing(box: Box) -> int:
    report = {"version": 1, "exit_code": 0, "signal": None, "timed_out": False, "stopped": False, "seconds": 0.0}
    box.path(f"{OUT_DIR}/{SHIM_REPORT}", write=True).write_text(json.dumps(report))
    return 0


def _run(steps: tuple[PlannedStep, ...], name: str) -> Run:
    framework = Framework(
        name="noop",
        source=PypiSource(pypi="noop", version="1"),
        command=("noop",),
        smoke_test=SmokeTest(command=("noop",)),
    )
    return Run(
        id=name,
        digest=hashlib.sha256(name.encode()).hexdigest(),
        experiment="bench",
        framework=framework,
        scenario="bench",
        steps=steps,
        repetition=1,
        seed=1,
        image=ImageRef(tag="noop", id=IMAGE),
        model=None,
        answers_sha256=None,
        platform="linux/amd64",
        archive="off",
        history="off",
        run_timeout=3600.0,
    )


if __name__ == "__main__":
    sys.exit(main())
