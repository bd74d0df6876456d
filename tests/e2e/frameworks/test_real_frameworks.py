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
from support.school import judge, judged_at_the_end, judgements

from runner.engine.docker import connect
from runner.engine.protocol import Engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(1500)]

WORK_SECONDS = 1200
GHSPEC_PHASES = ["specify", "plan", "tasks", "implement", "fix"]
STEPS = ["student", "student-email", "course", "student-courses", "teacher", "course-teacher"]
AT_THE_END = ["imports", "own-tests", "code"]


EXPERIMENT = """name: one
frameworks: [{framework}]
scenarios: [{scenario}]
model: {{provider: scripted}}
limits: {{run_timeout: 1h, memory: 1GiB, pids: 256}}
"""


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
    file = project.root / "config" / "experiments" / "one.yaml"
    file.write_text(EXPERIMENT.format(framework=framework, scenario=scenario), encoding="utf-8")
    result = project.run("go", "one", timeout=WORK_SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    (directory,) = project.directories()
    record: dict[str, Any] = json.loads((directory / "metadata.json").read_text())
    assert record["outcome"] == "passed", record["reason"]
    return directory, record


def _assert_phases(directory: Path, steps: list[dict[str, Any]]) -> None:
    names = [[phase["name"] for phase in step["phases"]] for step in steps]
    assert names == [["init", *GHSPEC_PHASES], *[GHSPEC_PHASES] * 5]
    assert all(phase["exit_code"] == 0 and phase["seconds"] > 0 for step in steps for phase in step["phases"])
    calls = (directory / "llm" / "calls.jsonl").read_text().splitlines()
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["api_calls"] == len(calls) == 96


@pytest.mark.parametrize("framework", ["mini-swe-agent", "ghspec", "aider", "opencode"])
def test_school_application_does_what_its_prompts_ask(project: Project, engine: Engine, framework: str) -> None:
    """Six steps on one workspace end with an application that answers every route as the prompts say.

    The scenario's own checks say so, too; of the quickest framework all of them. Spec Kit's phases stand in the record of
    each step, each with its time and exit code, and every call was metered.
    """
    wanted = [("api", STEPS[-1], "passed")]
    if framework == "mini-swe-agent":
        wanted = [*(("api", step, "passed") for step in STEPS), *((name, STEPS[-1], "passed") for name in AT_THE_END)]
    else:
        judged_at_the_end(project.root)
    directory, record = _go(project, framework, "crud")
    assert judgements(directory) == wanted
    code, text = judge(engine, record["run"]["image"]["id"], directory / "generated_artifacts")
    assert code == 0, text
    assert "requests answered as asked for" in text
    assert [step["id"] for step in record["steps"]] == STEPS
    if framework == "ghspec":
        _assert_phases(directory, record["steps"])
        specs = sorted(path.name for path in (directory / "generated_artifacts" / "specs").iterdir())
        assert [name[:3] for name in specs] == ["001", "002", "003", "004", "005", "006"]


@pytest.mark.parametrize(("framework", "calls"), [("aider", 1), ("opencode", 3)])
def test_every_call_of_an_agent_has_its_answer(project: Project, framework: str, calls: int) -> None:
    """The agent asks no more than its script has, none of its calls fails, and it leaves nothing but the product."""
    directory, record = _go(project, framework, "hello")
    made = [json.loads(line) for line in (directory / "llm" / "calls.jsonl").read_text().splitlines()]
    assert [call["status"] for call in made] == [200] * calls
    assert [phase["name"] for phase in record["steps"][0]["phases"]] == ["agent"]
    assert sorted(path.name for path in (directory / "generated_artifacts").iterdir()) == ["hello.py", "test_hello.py"]
