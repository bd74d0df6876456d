"""Recipes and scripted answers of the two agents that bring their own way of editing: aider and opencode."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest

from runner.gateway.answers import ScriptedAnswer, load_answers
from runner.spec.load import load_framework, load_scenario
from runner.spec.models import NpmSource, PypiSource
from runner.spec.project import Project

LICENSES = {"aider": "Apache-2.0", "opencode": "MIT"}
CELLS = [(framework, scenario) for framework in LICENSES for scenario in ("crud", "hello")]
WHOLE_FILE = re.compile(r"^(\S+)\n```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""A file in an answer to aider: its path on a line of its own, then a fenced block."""
EDITS = ("cat > ", "git apply", "mkdir ", "sed -i ")
WORKSPACE = PurePosixPath("/workspace")


def _answers(project: Project, framework: str, scenario: str) -> dict[str, tuple[ScriptedAnswer, ...]]:
    return load_answers(project.images / framework / "answers" / f"{scenario}.yaml").steps


def _written(answer: ScriptedAnswer) -> Iterator[tuple[str, str]]:
    """Yield the files that an answer writes whole: of aider in its text, of opencode by the tool `write`."""
    yield from ((match[1], match[2]) for match in WHOLE_FILE.finditer(answer.content or ""))
    for call in answer.tool_calls:
        if call.name == "write":
            path = PurePosixPath(str(call.arguments["filePath"])).relative_to(WORKSPACE)
            yield str(path), str(call.arguments["content"])


def _replay(answers: tuple[ScriptedAnswer, ...], workspace: Path) -> None:
    """Carry out the changes of one step, without a model and without the agent."""
    for answer in answers:
        for path, content in _written(answer):
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / path).write_text(content, encoding="utf-8")
        for call in answer.tool_calls:
            command = str(call.arguments.get("command", ""))
            if command.startswith(EDITS):
                subprocess.run(["bash", "-ec", command], cwd=workspace, check=True, capture_output=True)


def _files(workspace: Path) -> Mapping[str, str]:
    return {path.relative_to(workspace).as_posix(): path.read_text() for path in workspace.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", LICENSES)
def test_recipe_can_be_loaded(project: Project, name: str) -> None:
    """Each recipe is valid, reaches nothing but the gateway, pins its version and says under which licence."""
    framework = load_framework(project, name).value
    assert framework.network == "gateway"
    assert framework.allow == ()
    assert framework.license == LICENSES[name]
    source = framework.source
    assert isinstance(source, PypiSource | NpmSource)
    readme = (project.images / name / "README.md").read_text()
    assert source.version in readme
    assert framework.license.partition("-")[0] in readme


def test_opencode_comes_from_npm_in_one_package(project: Project) -> None:
    """The lock holds the program for any processor of the platform, and no second build of it."""
    lock = (project.images / "opencode" / "requirements.lock").read_text()
    assert re.findall(r'"kind": "npm", "name": "([^"]+)"', lock) == ["opencode-linux-x64-baseline"]


def test_copies_are_alike(project: Project) -> None:
    """Both recipes that look at the workspace's own tests do it with the same program."""
    aider, ghspec = ((project.images / name / "run_tests.py").read_text() for name in ("aider", "ghspec"))
    assert aider == ghspec


@pytest.mark.parametrize(("framework", "scenario"), CELLS)
def test_answers_cover_the_scenario(project: Project, framework: str, scenario: str) -> None:
    """Every step has answers, in the scenario's order; all but a step's first say what they expect to have happened."""
    answers = _answers(project, framework, scenario)
    assert list(answers) == [step.id for step in load_scenario(project, scenario).value.steps]
    assert all(answer.expect for step in answers.values() for answer in step[1:])


@pytest.mark.parametrize(("framework", "scenario"), CELLS)
def test_each_step_ends_by_an_answer_without_tools(project: Project, framework: str, scenario: str) -> None:
    """An agent goes on as long as the model calls tools; aider is given none."""
    for answers in _answers(project, framework, scenario).values():
        assert not answers[-1].tool_calls
        tools = {call.name for answer in answers for call in answer.tool_calls}
        assert tools <= ({"bash", "write"} if framework == "opencode" else set())


@pytest.mark.processes
@pytest.mark.parametrize(("framework", "scenario"), CELLS)
def test_the_same_application_is_made(project: Project, tmp_path: Path, framework: str, scenario: str) -> None:
    """After every step the files are those that mini-swe-agent's answers make, so that only the frameworks differ."""
    own, other = tmp_path / framework, tmp_path / "mini-swe-agent"
    for folder in (own, other):
        folder.mkdir()
    reference = _answers(project, "mini-swe-agent", scenario)
    for step, answers in _answers(project, framework, scenario).items():
        _replay(answers, own)
        _replay(reference[step], other)
        assert _files(own) == _files(other), step
