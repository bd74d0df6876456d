"""Scripted answers of the project's own frameworks: they fit the scenarios and make the application."""

from __future__ import annotations

import compileall
import subprocess
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pytest

from runner.gateway.answers import ScriptedAnswer, load_answers
from runner.spec.load import load_scenario
from runner.spec.project import Project

PHASES = {"mini-swe-agent": 1, "ghspec": 4}
LIBRARY = [("mini-swe-agent", one) for one in ("bug-fix", "data-cli", "rest-node")]
CELLS = [(framework, scenario) for framework in PHASES for scenario in ("crud", "crud-graph", "hello")] + LIBRARY
PARTS = ("student", "course", "teacher")
"""The steps of crud-graph that work beside each other."""
FINISH = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
EDITS = ("cat > ", "git apply", "mkdir ", "sed -i ")
"""How a command that changes files begins; all others look, run tests or call what only the image has."""


def _answers(project: Project, framework: str, scenario: str) -> dict[str, tuple[ScriptedAnswer, ...]]:
    return load_answers(project.images / framework / "answers" / f"{scenario}.yaml").steps


def _worked(project: Project, framework: str, scenario: str) -> dict[str, tuple[ScriptedAnswer, ...]]:
    """Return the answers of the steps that the framework carries out; those of other kinds call no tools."""
    steps = load_scenario(project, scenario).value.steps
    prompts = {step.id for step in steps if step.enabled and step.prompt is not None}
    return {step: answers for step, answers in _answers(project, framework, scenario).items() if step in prompts}


def _commands(answer: ScriptedAnswer) -> list[str]:
    commands = [call.arguments["command"] for call in answer.tool_calls]
    assert all(isinstance(command, str) for command in commands)
    return [str(command) for command in commands]


def _replay(steps: tuple[ScriptedAnswer, ...], workspace: Path) -> None:
    """Carry out the changes of one step, without a model and without the agent."""
    for command in (command for answer in steps for command in _commands(answer) if command.startswith(EDITS)):
        done = subprocess.run(["bash", "-ec", command], cwd=workspace, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command[:300]}\n{done.stderr}"


@pytest.mark.parametrize(("framework", "scenario"), CELLS)
def test_answers_cover_the_scenario(project: Project, framework: str, scenario: str) -> None:
    """Every enabled step that asks a model has answers, in the scenario's order, and there are none for other steps."""
    steps = load_scenario(project, scenario).value.steps
    asking = [step.id for step in steps if step.enabled and (step.prompt is not None or step.model is not None)]
    assert list(_answers(project, framework, scenario)) == asking


@pytest.mark.parametrize(("framework", "scenario"), CELLS)
def test_each_session_ends_by_the_agents_own_word(project: Project, framework: str, scenario: str) -> None:
    """The agent is told to finish once for each phase, alone in its answer, and a step ends with that."""
    for step, answers in _worked(project, framework, scenario).items():
        finished = [[one.strip() for one in _commands(answer)] == [FINISH] for answer in answers]
        assert sum(finished) == PHASES[framework], step
        assert finished[-1], step


@pytest.mark.parametrize(("framework", "scenario"), CELLS)
def test_answers_guard_against_drift(project: Project, framework: str, scenario: str) -> None:
    """Every answer but a step's first look says what it expects to have happened, and all use the agent's one tool."""
    for answers in _worked(project, framework, scenario).values():
        assert all(answer.expect for answer in answers[1:])
        assert {call.name for answer in answers for call in answer.tool_calls} == {"bash"}


@pytest.mark.processes
@pytest.mark.parametrize("framework", PHASES)
def test_every_step_leaves_an_application_that_compiles(project: Project, framework: str, tmp_path: Path) -> None:
    """Replayed one after the other, the changes of each step apply to what the one before left."""
    for step, answers in _answers(project, framework, "crud").items():
        _replay(answers, tmp_path)
        assert compileall.compile_dir(tmp_path, quiet=1, force=True), step
    migrations = (tmp_path / "app" / "database.py").read_text()
    for table in ("students", "courses", "enrolments", "teachers"):
        assert f"CREATE TABLE {table} (" in migrations


@pytest.mark.processes
@pytest.mark.parametrize(("scenario", "files"), [("crud", 15), ("crud-graph", 9)])
def test_both_frameworks_make_the_same_application(project: Project, tmp_path: Path, scenario: str, files: int) -> None:
    """The scripted model writes the same code in both, so that only the frameworks differ."""
    made = []
    for framework in PHASES:
        workspace = tmp_path / framework
        workspace.mkdir()
        for answers in _worked(project, framework, scenario).values():
            _replay(answers, workspace)
        code = {path: text for path, text in _files(workspace).items() if path.endswith(".py")}
        assert len(code) == files
        made.append(code)
    assert made[0] == made[1]


def _files(workspace: Path) -> Mapping[str, str]:
    return {path.relative_to(workspace).as_posix(): path.read_text() for path in workspace.rglob("*") if path.is_file()}


@pytest.mark.processes
@pytest.mark.parametrize("framework", PHASES)
def test_parts_written_beside_each_other_fit_together(project: Project, framework: str, tmp_path: Path) -> None:
    """No two of the three parts write a file differently, and the routes come to what they have written together."""
    written = []
    for part in PARTS:
        workspace = tmp_path / part
        workspace.mkdir()
        _replay(_answers(project, framework, "crud-graph")[part], workspace)
        written.append(_files(workspace))
    for one, other in combinations(written, 2):
        assert {path for path in one.keys() & other.keys() if one[path] != other[path]} == set()
    assert all(f"app/{part}.py" in files for part, files in zip(PARTS, written, strict=True))


@pytest.mark.processes
@pytest.mark.parametrize(("scenario", "numbers"), [("crud", (1, 2, 3, 4, 5, 6)), ("crud-graph", (1, 1, 1, 2))])
def test_ghspec_leaves_a_specification_for_each_step(
    project: Project, tmp_path: Path, scenario: str, numbers: tuple[int, ...]
) -> None:
    """A numbered folder for each step holds specification, plan and tasks; steps beside each other have one number."""
    for number, (step, answers) in zip(numbers, _worked(project, "ghspec", scenario).items(), strict=True):
        _replay(answers, tmp_path)
        folder = tmp_path / "specs" / f"{number:03d}-{step}"
        assert {"spec.md", "plan.md", "tasks.md"} <= {path.name for path in folder.iterdir()}
        tasks = (folder / "tasks.md").read_text()
        assert "- [X] T001" in tasks
        assert "- [ ]" not in tasks


@pytest.mark.processes
@pytest.mark.parametrize("framework", PHASES)
def test_hello_greets(project: Project, framework: str, tmp_path: Path) -> None:
    """The small scenario's program does what its prompt asks for."""
    _replay(_answers(project, framework, "hello")["hello"], tmp_path)
    done = subprocess.run(["python3", "hello.py", " Ada "], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Hello, Ada!\n")
