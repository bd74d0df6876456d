"""A terminal and a pipe to write to."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runner.cli.console import Console
from runner.evidence.layout import RunLayout
from runner.evidence.records import AttemptRecord, Host, Outcome, RunRecord, StepRecord
from runner.plan.models import ImageRef, PlannedStep, Run
from runner.spec.models import Framework, Limits, LocalSource, SmokeTest

HOST = Host(
    kernel="6.1",
    operating_system="Debian",
    engine_version="20.10",
    api_version="1.41",
    cgroup="v1 cgroupfs",
    cpus=2,
    memory_bytes=8 * 1024**3,
    runner_version="0.1.0",
)


class Terminal(io.StringIO):
    """Text that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> Terminal:
    """Return something that looks like a terminal."""
    return Terminal()


@pytest.fixture
def pipe() -> io.StringIO:
    """Return something that is no terminal."""
    return io.StringIO()


@pytest.fixture
def plain_console(pipe: io.StringIO) -> Console:
    """Return a console whose streams are one pipe."""
    return Console(out=pipe, err=pipe)


@pytest.fixture
def colorful(terminal: Terminal) -> Console:
    """Return a console on a terminal of 80 columns with colours."""
    return Console(out=terminal, err=terminal, color=True, width=80)


def make_record(run_id: str = "crud-r1-0123456789", outcome: Outcome | None = "failed") -> RunRecord:
    """Return the record of a run of two steps, the first passed at its second attempt."""
    limits = Limits()
    steps = tuple(
        PlannedStep(id=name, index=i, title="", prompt="p", prompt_sha256="0" * 64, expect_changes=True, limits=limits)
        for i, name in enumerate(("student", "course", "teacher"), 1)
    )
    framework = Framework(
        name="ghspec",
        source=LocalSource(path="src"),
        command=("true",),
        smoke_test=SmokeTest(command=("true",)),
    )
    run = Run(
        id=run_id,
        digest="0" * 64,
        experiment="default",
        framework=framework,
        scenario="crud",
        steps=steps,
        repetition=1,
        seed=7,
        image=ImageRef(tag="codegen-runner/ghspec:0", id="sha256:" + "1" * 64),
        model=None,
        answers_sha256=None,
        platform="linux/amd64",
        archive="zstd",
        run_timeout=60.0,
    )
    done = (
        make_step("student", 1, "passed", (make_attempt(1, "failed", 1), make_attempt(2, "passed", 0))),
        make_step("course", 2, "failed", (make_attempt(1, "failed", 3),)),
    )
    return RunRecord(
        run=run,
        outcome=outcome,
        reason="step course: exit code 3" if outcome else "",
        model_label="scripted model",
        started_at="2026-01-01T00:00:00.000Z",
        finished_at="2026-01-01T00:01:00.000Z" if outcome else None,
        host=HOST,
        steps=done,
        artifacts="generated_artifacts",
        notes=("one folder was made readable",),
    )


def make_step(name: str, index: int, outcome: Outcome, attempts: tuple[AttemptRecord, ...]) -> StepRecord:
    """Return the record of a step."""
    return StepRecord(
        id=name,
        index=index,
        title="",
        prompt_sha256="0" * 64,
        outcome=outcome,
        reason="" if outcome == "passed" else "exit code 3",
        started_at=None,
        finished_at=None,
        changed_files=4,
        attempts=attempts,
    )


def make_attempt(number: int, outcome: Outcome, exit_code: int) -> AttemptRecord:
    """Return the record of an attempt."""
    return AttemptRecord(
        attempt=number,
        container=f"cgr-ghspec-{number}",
        image_id="sha256:" + "1" * 64,
        argv=("true",),
        started_at=None,
        finished_at=None,
        seconds=12.0,
        exit_code=exit_code,
        signal=None,
        oom_killed=False,
        timed_out=False,
        stdout_bytes=2048,
        stderr_bytes=0,
        dropped_bytes=0,
        outcome=outcome,
        reason="",
    )


METRICS = {
    "wall_seconds": 60.0,
    "cpu_seconds": None,
    "tokens_in": 1234,
    "per_step": [{"step": "student", "index": 1, "wall_seconds": 12.0, "tokens_in": 1234, "tokens_out": None}],
    "about": {"cpu_seconds": {"unit": "seconds", "reason": "no cgroup"}},
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return a folder of run directories with two finished runs and one under way, and logs of the first."""
    outcomes: dict[str, Outcome | None] = {
        "crud-r1-0123456789": "failed",
        "crud-r2-0123999999": "passed",
        "crud-r3-abc": None,
    }
    for run_id, outcome in outcomes.items():
        layout = RunLayout(tmp_path / "out" / "ghspec" / run_id)
        layout.root.mkdir(parents=True)
        record = make_record(run_id, outcome)
        layout.metadata.write_text(record.model_dump_json(), encoding="utf-8")
        layout.metrics.write_text(json.dumps(METRICS), encoding="utf-8")
        for index in (1, 2):
            layout.step(index).root.mkdir(parents=True)
            layout.step(index).log("stdout").write_bytes(b"out %d\x1b[2J\n" % index)
            layout.step(index).log("stderr").write_bytes(b"err %d\n" % index)
    return tmp_path / "out"


FILES = {
    "config/experiments/default.yaml": "name: default\nframeworks: [demo, other]\nscenarios: [hello]\nrepetitions: 2\n",
    "config/scenarios/hello.yaml": "name: hello\nsteps:\n  - id: greet\n    prompt: Say hello.\n",
    "images/demo/framework.yaml": "name: demo\nsource: {path: src}\ncommand: ['true']\nsmoke_test: {command: ['true']}\n",
    "images/demo/src/demo.txt": "demo",
    "images/other/framework.yaml": (
        "name: other\nsource: {path: src}\ncommand: ['true']\nsmoke_test: {command: ['true']}\n"
    ),
    "images/other/src/other.txt": "other",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a small project: two frameworks, one scenario, one experiment."""
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "project"
