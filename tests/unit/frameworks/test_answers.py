"""Scripted answers of the project's own frameworks: they fit the scenarios and make the application."""

from __future__ import annotations

import compileall
import subprocess
from pathlib import Path

import pytest

from runner.gateway.answers import ScriptedAnswer, load_answers
from runner.spec.load import load_scenario
from runner.spec.project import Project

PHASES = {"mini-swe-agent": 1, "ghspec": 4}
CELLS = [(framework, scenario) for framework in PHASES for scenario in ("crud", "hello")]
FINISH = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
EDITS = ("cat > ", "git apply", "mkdir ", "sed -i ")
"""How a command that changes files begins; all others look, run tests or call what only the image has."""


def _answers(project: Project, framework: str, scenario: str) -> dict[str, tuple[ScriptedAnswer, ...]]:
    return load_answers(project.images / framework / "answers" / f"{scenario}.yaml").steps


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
    """Every enabled step has answers, in the scenario's order, and there are none for other steps."""
    enabled = [step.id for step in load_scenario(project, scenario).value.steps if step.enabled]
    assert list(_answers(project, framework, scenario)) == enabled


@pytest.mark.parametrize(("framework", "scenario"), CELLS)
def test_each_session_ends_by_the_agents_own_word(project: Project, framework: str, scenario: str) -> None:
    """The agent is told to finish once for each phase, alone in its answer, and a step ends with that."""
    for step, answers in _answers(project, framework, scenario).items():
        finished = [_commands(answer) == [FINISH] for answer in answers]
        assert sum(finished) == PHASES[framework], step
        assert finished[-1], step


@pytest.mark.parametrize(("framework", "scenario"), CELLS)
def test_answers_guard_against_drift(project: Project, framework: str, scenario: str) -> None:
    """Every answer but a step's first look says what it expects to have happened, and all use the agent's one tool."""
    for answers in _answers(project, framework, scenario).values():
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
def test_both_frameworks_make_the_same_application(project: Project, tmp_path: Path) -> None:
    """The scripted model writes the same code in both, so that only the frameworks differ."""
    made = []
    for framework in PHASES:
        workspace = tmp_path / framework
        workspace.mkdir()
        for answers in _answers(project, framework, "crud").values():
            _replay(answers, workspace)
        files = [path for folder in ("app", "tests") for path in sorted((workspace / folder).rglob("*.py"))]
        made.append({path.relative_to(workspace).as_posix(): path.read_text() for path in files})
    assert len(made[0]) > 10
    assert made[0] == made[1]


@pytest.mark.processes
def test_ghspec_leaves_a_specification_for_each_step(project: Project, tmp_path: Path) -> None:
    """Step by step, a numbered folder holds specification, plan and tasks, with every task done at the end."""
    for number, (step, answers) in enumerate(_answers(project, "ghspec", "crud").items(), start=1):
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
