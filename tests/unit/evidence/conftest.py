"""Sample records and hostile trees for the tests of evidence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.evidence.layout import RunLayout
from runner.evidence.records import AttemptRecord, Host, Outcome, RunRecord, StepRecord
from runner.plan.models import ImageRef, PlannedStep, Run
from runner.spec.model import Model
from runner.spec.models import Framework, Limits, PypiSource, SmokeTest


@pytest.fixture
def run() -> Run:
    """Return a planned run of two steps with a scripted model."""
    framework = Framework(
        name="fake",
        source=PypiSource(pypi="fake", version="1"),
        command=("true",),
        network="gateway",
        smoke_test=SmokeTest(command=("true",)),
    )
    steps = tuple(
        PlannedStep(
            id=name, index=index, title=name, prompt="do", prompt_sha256="0" * 64, expect_changes=True, limits=Limits()
        )
        for index, name in enumerate(("student", "course"), 1)
    )
    return Run(
        id="crud-r1-0123456789",
        digest="0123456789" + "0" * 54,
        experiment="default",
        framework=framework,
        scenario="crud",
        steps=steps,
        repetition=1,
        seed=7,
        image=ImageRef(tag="codegen-runner/fake:abc", id="sha256:" + "1" * 64),
        model=Model(),
        answers_sha256=None,
        platform="linux/amd64",
        archive="zstd",
        run_timeout=60.0,
    )


@pytest.fixture
def attempt() -> AttemptRecord:
    """Return an attempt that passed in two seconds."""
    return AttemptRecord(
        attempt=1,
        container="c",
        image_id="sha256:" + "1" * 64,
        argv=("true",),
        started_at="2026-01-01T00:00:00.000Z",
        finished_at="2026-01-01T00:00:02.000Z",
        seconds=2.0,
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


@pytest.fixture
def record(run: Run, attempt: AttemptRecord) -> RunRecord:
    """Return the finished record of `run`: the first step passed, the second failed."""

    def step(planned: PlannedStep, outcome: Outcome, reason: str) -> StepRecord:
        return StepRecord(
            id=planned.id,
            index=planned.index,
            title=planned.title,
            prompt_sha256=planned.prompt_sha256,
            outcome=outcome,
            reason=reason,
            started_at=attempt.started_at,
            finished_at=attempt.finished_at,
            changed_files=3,
            attempts=(attempt,),
        )

    return RunRecord(
        run=run,
        outcome="failed",
        reason="step course: exit code 1",
        model_label="scripted model",
        started_at="2026-01-01T00:00:00.000Z",
        finished_at="2026-01-01T00:00:05.000Z",
        host=Host(
            kernel="6.1",
            operating_system="Debian 12",
            engine_version="20.10",
            api_version="1.41",
            cgroup="v1 cgroupfs",
            cpus=2,
            memory_bytes=1024,
            runner_version="0.1.0",
        ),
        steps=(step(run.steps[0], "passed", ""), step(run.steps[1], "failed", "exit code 1")),
        artifacts="generated_artifacts",
        archive="run.tar.zst",
    )


@pytest.fixture
def make_hostile() -> Callable[[Path], None]:
    """Return what fills a folder with everything a program may leave to hurt whoever looks at it."""

    def fill(root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        (root / "shadow").symlink_to("/etc/shadow")
        (root / "everything").symlink_to("/")
        (root / "loop").symlink_to("loop")
        (root / "dangling").symlink_to("nowhere")
        os.mkfifo(root / "fifo")
        (root / "new\nline\x1b[31m").write_text("x")
        (root / "\u2026 \u00fc").write_text("unicode")
        raw = os.fsencode(root)
        with open(raw + b"/not-utf8-\xff\xfe", "wb") as stream:  # noqa: PTH123  the name is no text
            stream.write(b"raw")
        os.symlink(b"target-\xff", raw + b"/link-\xfe")  # noqa: PTH211  the names are no text
        os.link(root / "\u2026 \u00fc", root / "hard")
        (root / "empty").mkdir()
        (root / "script").write_text("#!/bin/sh\n")
        (root / "script").chmod(0o751)
        deep = root
        for _ in range(8):
            deep /= "a-rather-long-folder-name"
        deep.mkdir(parents=True)
        (deep / ("long-" * 30)).write_text("deep")

    return fill


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return the layout of a run directory with a little of everything."""
    layout = RunLayout(tmp_path / "fake" / "crud-r1-0123456789")
    for path, text in {
        layout.metadata: "{}",
        layout.workspace / "app" / "main.py": "print('hello')\n",
        layout.step(1).log("stdout"): "out\n",
        layout.state / "home" / ".cache": "c",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return layout
