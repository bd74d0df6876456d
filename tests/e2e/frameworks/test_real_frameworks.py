"""The project's own frameworks, in their images, on the project's own scenarios, with the scripted model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, Project

from runner.engine import owner
from runner.engine.docker import connect
from runner.engine.protocol import ContainerSpec, Engine, Mount, Resources
from runner.names import LABEL_KIND, PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(1500)]

CHECK = Path(__file__).with_name("crud_check.py")
WORK_SECONDS = 1200
CHECK_SECONDS = 120
GHSPEC_PHASES = ["init", "specify", "plan", "tasks", "implement"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of this project's configuration and recipes, with run directories of its own."""
    for folder in ("config", "images"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    return Project(tmp_path)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine that the runs used."""
    with connect(os.environ) as connected:
        yield connected


def _go(project: Project, framework: str, scenario: str) -> tuple[Path, dict[str, Any]]:
    """Carry out one run; return its directory and record."""
    selection = ("--framework", framework, "--scenario", scenario, "--repetitions", "1")
    result = project.run("go", *selection, timeout=WORK_SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    (directory,) = project.directories()
    record: dict[str, Any] = json.loads((directory / "metadata.json").read_text())
    assert record["outcome"] == "passed", record["reason"]
    return directory, record


def _judge(engine: Engine, image: str, workspace: Path) -> tuple[int | None, str]:
    """Run the check in an image, on a workspace it cannot change, without a network."""
    limits = Resources(cpus=1, memory=1 << 30, swap=0, pids=128, tmp=64 << 20, shm=16 << 20, log=1 << 20)
    container = engine.containers.create(
        ContainerSpec(
            name=f"{PROJECT}-check-{owner.current().pid}-{workspace.parent.name}",
            image=image,
            argv=("python", "/in/crud_check.py"),
            env={"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},
            user=f"{os.getuid()}:{os.getgid()}",
            workdir="/workspace",
            mounts=(
                Mount(source=str(workspace), target="/workspace", read_only=True),
                Mount(source=str(CHECK.parent), target="/in", read_only=True),
            ),
            resources=limits,
            labels={**owner.current().labels(), LABEL_KIND: "helper"},
        )
    )
    try:
        engine.containers.start(container)
        state = engine.containers.wait(container, CHECK_SECONDS)
        text = b"".join(chunk for _, chunk in engine.observer.logs(container)).decode()
        return (state.exit_code if state else None), text
    finally:
        engine.containers.remove(container)


@pytest.mark.parametrize("framework", ["mini-swe-agent", "ghspec"])
def test_school_application_does_what_its_prompts_ask(project: Project, engine: Engine, framework: str) -> None:
    """Six steps on one workspace end with an application that answers every route as the prompts say."""
    directory, record = _go(project, framework, "crud")
    code, text = _judge(engine, record["run"]["image"]["id"], directory / "generated_artifacts")
    assert code == 0, text
    assert "requests answered as asked for" in text
    assert len(record["steps"]) == 6
    if framework == "ghspec":
        specs = sorted(path.name for path in (directory / "generated_artifacts" / "specs").iterdir())
        assert [name[:3] for name in specs] == ["001", "002", "003", "004", "005", "006"]


def test_phases_of_a_framework_are_recorded(project: Project) -> None:
    """Spec Kit's phases stand in the step's record, each with its time and exit code, and every call was metered."""
    directory, record = _go(project, "ghspec", "hello")
    phases = record["steps"][0]["phases"]
    assert [phase["name"] for phase in phases] == GHSPEC_PHASES
    assert all(phase["exit_code"] == 0 and phase["seconds"] > 0 for phase in phases)
    calls = (directory / "llm" / "calls.jsonl").read_text().splitlines()
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["api_calls"] == len(calls) == 15
