"""BAEs in its image, with the scripted model: its own phases to the end, and what it built started and called."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import school
from support.project import ROOT, Project

from runner.engine.docker import connect
from runner.engine.protocol import Engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(1500)]

CHECKS = ROOT / "tests" / "projects" / "baes"
"""Programs that judge in the framework's image; the requests they send are those of `crud_check`."""
BUILD_SECONDS = 900
WORK_SECONDS = 600
NOT_HERE = "not buildable here"
"""How `runner images build` says that a source cannot be reached: nothing is wrong with the recipe."""
TASKS = ["interpret", "techlead-coordination", "DATABASE", "model-generation", "api-generation", "ui-generation"]
WAYS = {
    "student": ("database-setup", True),
    "student-email": ("migrate-schema", True),
    "course": ("database-setup", True),
    "student-courses": ("create-relationships", False),
    "teacher": ("database-setup", True),
    "course-teacher": ("create-relationships", False),
}
"""By step: what is done to the database, and whether a model is among the tasks."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of this project with only this framework beside the base; skipped where it cannot be built."""
    shutil.copytree(ROOT / "config", tmp_path / "config", symlinks=True)
    for name in ("base", "builder", "baes"):
        shutil.copytree(ROOT / "images" / name, tmp_path / "images" / name, symlinks=True)
    (tmp_path / "config" / "experiments" / "default.yaml").write_text(
        "name: default\nframeworks: [baes]\nscenarios: [crud, hello]\nmodel: {provider: scripted}\n"
    )
    project = Project(tmp_path)
    built = project.run("images", "build", "baes", timeout=BUILD_SECONDS)
    said = built.stdout + built.stderr
    if built.returncode and NOT_HERE in said:
        pytest.skip(f"the image cannot be built on this machine: {said}")
    assert built.returncode == 0, said
    return project


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine that the runs used."""
    with connect(os.environ) as connected:
        yield connected


def _go(project: Project, scenario: str) -> tuple[Path, dict[str, Any]]:
    """Carry out one run; return its directory and record."""
    result = project.run("go", "--scenario", scenario, timeout=WORK_SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    (directory,) = project.directories()
    record: dict[str, Any] = json.loads((directory / "metadata.json").read_text())
    assert record["outcome"] == "passed", record["reason"]
    return directory, record


@pytest.fixture
def checks(tmp_path: Path) -> Path:
    """A folder with the programs that judge."""
    shutil.copytree(CHECKS, tmp_path / "checks")
    shutil.copy(school.CHECK, tmp_path / "checks")
    return tmp_path / "checks"


def test_six_requests_make_the_school_application(project: Project, engine: Engine, checks: Path) -> None:
    """Each step goes through the framework's own tasks with three calls; every route is served, and found by the checks."""
    directory, record = _go(project, "crud")
    found = {step["id"]: [phase["name"] for phase in step["phases"]] for step in record["steps"]}
    for step, (database, model) in WAYS.items():
        wanted = [database if task == "DATABASE" else task for task in TASKS if model or task != "model-generation"]
        assert found[step] == [*wanted, "final-review"], step
    calls = [json.loads(line) for line in (directory / "llm" / "calls.jsonl").read_text().splitlines()]
    assert [sum(call["step"] == step for call in calls) for step in WAYS] == [3] * len(WAYS)
    workspace = checks.parent / "judged"
    shutil.copytree(directory / "generated_artifacts", workspace)
    image = record["run"]["image"]["id"]
    code, text = school.judge(engine, image, workspace, checks / "check.py", writable=True)
    assert code == 0, text
    assert "98 requests answered as asked for" in text
    pages = school.judge(engine, image, workspace, checks / "pages.py", writable=True)
    assert pages == (0, "course student teacher\n")
    shutil.copytree(ROOT / "images" / "checker", project.root / "images" / "checker", symlinks=True)
    artifacts = str(directory / "generated_artifacts")
    judged = project.run("check", artifacts, "--scenario", "crud", "--check", "api", timeout=BUILD_SECONDS)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert re.search(r"checks: ([0-9]+) of \1$", judged.stdout, re.MULTILINE), judged.stdout
    assert not (directory / "generated_artifacts" / "logs").exists()
    assert (directory / "state" / "baes" / "database" / "context_store.json").is_file()


def test_hello_becomes_a_service_of_greetings(project: Project) -> None:
    """A request about nothing that it has an agent for goes through the framework's general one, to the end."""
    directory, record = _go(project, "hello")
    phases = [phase["name"] for phase in record["steps"][0]["phases"]]
    assert phases == ["interpret", "api-generation", "database-setup", "ui-generation"]
    system = directory / "generated_artifacts" / "managed_system"
    assert (system / "app" / "routes" / "greeting_routes.py").is_file()
    assert (system / "app" / "database" / "baes_system.db").read_bytes().startswith(b"SQLite format 3\0")
