"""Spec Kit's questions and the repair after the implementation, with stand-ins for the agent and for `runner-ask`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.project import ROOT

Load = Callable[[str, str], ModuleType]
Phases = list[dict[str, Any]]

AGENT = """#!{python}
# Stands for the agent: does what the phase's entry in the plan says, and submits.
import json, pathlib, subprocess, sys
out = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
phase = out.name.removesuffix(".traj.json")
plan = json.loads(pathlib.Path("plan.json").read_text())
subprocess.run(["sh", "-ec", plan.get(phase, "")], check=True)
out.write_text(json.dumps({{"info": {{"exit_status": "Submitted"}}, "messages": [{{"content": ""}}]}}))
"""
SPECIFY = """mkdir -p specs/001-x
echo '{{"feature_directory": "specs/001-x"}}' > .specify/feature.json
cat > specs/001-x/spec.md <<'EOF'
{0}
EOF
"""
STORAGE = "[NEEDS CLARIFICATION: which storage,\n  file or database?]"


@pytest.fixture
def adapter(recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter of ghspec in a workspace with Spec Kit's commands; `mini` and `runner-ask` are on the PATH."""
    adapter = recipe_module("ghspec", "adapter")
    monkeypatch.chdir(tmp_path)
    for name, value in (("STEP", "step.json"), ("PROMPT", "prompt.txt"), ("OUT", "out"), ("ANSWERS", "answers.json")):
        monkeypatch.setattr(adapter, name, tmp_path / value)
    (tmp_path / "step.json").write_text('{"seed": 7}')
    (tmp_path / "prompt.txt").write_text("build it")
    (tmp_path / "out").mkdir()
    for command in (*adapter.PHASES, "clarify"):
        file = tmp_path / adapter.COMMANDS / f"speckit.{command}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {command}\n$ARGUMENTS")
    programs = tmp_path / "bin"
    programs.mkdir()
    ask = ROOT / "images" / "base" / "rootfs" / "usr" / "local" / "bin" / "runner-ask"
    _program(programs / "mini", AGENT.format(python=sys.executable))
    options = f"--answers {tmp_path}/answers.json --log {tmp_path}/asked"
    _program(programs / "runner-ask", f'#!/bin/sh\nexec {sys.executable} {ask} {options} "$@"\n')
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("RUNNER_MODEL", "some/model")
    return adapter


def _program(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def _step(adapter: ModuleType, plan: dict[str, str], answers: list[dict[str, str | None]] | None = None) -> Phases:
    """Carry out a step whose agent does what the plan says for each phase; return the phases of its report."""
    folder: Path = adapter.OUT.parent
    (folder / "plan.json").write_text(json.dumps(plan))
    if answers is not None:
        adapter.ANSWERS.write_text(json.dumps({"version": 1, "answers": answers}))
    assert adapter.main() == 0
    phases: Phases = json.loads((adapter.OUT / "result.json").read_text())["phases"]
    return phases


def _task(adapter: ModuleType, phase: str) -> str:
    """Return what the agent was told to do in a phase."""
    content = adapter.run_agent.__globals__["yaml"].safe_load(
        (adapter.OUT / "phases" / f"{phase}.task.yaml").read_text()
    )
    return str(content["run"]["task"])


@pytest.mark.processes
def test_open_questions_are_answered_and_written_in(adapter: ModuleType, tmp_path: Path) -> None:
    """A marker becomes a question, its answer a task of `clarify`, and the digest of the answer is noted."""
    plan = {"specify": SPECIFY.format(STORAGE), "clarify": "echo 'In SQLite.' > specs/001-x/spec.md"}
    phases = _step(adapter, plan, [{"question": "(?i)storage", "answer": "SQLite."}])
    assert [phase["name"] for phase in phases] == ["specify", "clarify", "plan", "tasks", "implement", "fix"]
    assert all(phase["seconds"] is not None and phase["started_at"] is not None for phase in phases)
    task = _task(adapter, "clarify")
    assert "# clarify" in task
    assert "Q: which storage, file or database?\nA: SQLite." in task
    (asked,) = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    assert asked["question"] == "which storage, file or database?"
    assert asked["answer_sha256"] == hashlib.sha256(b"SQLite.").hexdigest()


@pytest.mark.processes
def test_questions_are_answered_three_times_at_most(adapter: ModuleType) -> None:
    """An agent that leaves the question where it is gets its answer three times, then the work goes on."""
    phases = _step(adapter, {"specify": SPECIFY.format(STORAGE)}, [{"question": None, "answer": "SQLite."}])
    names = [phase["name"] for phase in phases]
    assert names == ["specify", "clarify", "clarify-2", "clarify-3", "plan", "tasks", "implement", "fix"]


@pytest.mark.processes
def test_a_question_without_an_answer_is_the_agents(adapter: ModuleType) -> None:
    """Beside one that has an answer it is told to decide; if none has one, nothing is clarified."""
    text = f"{STORAGE}\n[NEEDS CLARIFICATION: which colour?]"
    answers: list[dict[str, str | None]] = [{"question": "storage", "answer": "SQLite."}]
    _step(adapter, {"specify": SPECIFY.format(text), "clarify": "echo done > specs/001-x/spec.md"}, answers)
    assert "Nobody has an answer" in _task(adapter, "clarify")
    alone = SPECIFY.format("[NEEDS CLARIFICATION: which colour?]")
    assert "clarify" not in [phase["name"] for phase in _step(adapter, {"specify": alone}, answers)]


@pytest.mark.processes
def test_without_prepared_answers_nobody_is_asked(adapter: ModuleType, tmp_path: Path) -> None:
    """The agent is told to leave markers only if somebody answers them; without answers it decides by itself."""
    phases = _step(adapter, {"specify": SPECIFY.format(STORAGE)})
    assert [phase["name"] for phase in phases] == ["specify", "plan", "tasks", "implement", "fix"]
    assert not (tmp_path / "asked").exists()
    assert "Asking" not in _task(adapter, "specify")
    _step(adapter, {}, [{"question": None, "answer": "yes"}])
    assert "Asking" in _task(adapter, "specify")
    assert "Asking" not in _task(adapter, "plan")


FAILING = "printf 'def test_x() -> None:\\n    assert 1 == 2\\n' > test_x.py"
PASSING = "printf 'def test_x() -> None:\\n    assert 1 == 1\\n' > test_x.py"


@pytest.mark.processes
def test_failing_tests_are_given_to_the_agent(adapter: ModuleType) -> None:
    """What the tests printed is the task; each look and repair is a phase, and the last says that they pass."""
    phases = _step(adapter, {"implement": FAILING, "fix": PASSING})
    fixes = [(phase["name"], phase["exit_code"], phase["detail"]) for phase in phases[4:]]
    assert fixes[0] == ("fix", 0, "Submitted")
    assert fixes[1][:2] == ("fix-2", 0)
    assert fixes[1][2].startswith("1 passed")
    assert "assert 1 == 2" in _task(adapter, "fix")
    assert "1 failed" in (adapter.OUT / "phases" / "fix.tests.txt").read_text()


@pytest.mark.processes
def test_tests_that_keep_failing_fail_no_step(adapter: ModuleType) -> None:
    """After three repairs the last look is recorded with the tests' own exit code; what was made is judged by others."""
    phases = _step(adapter, {"implement": FAILING})
    assert [phase["name"] for phase in phases[4:]] == ["fix", "fix-2", "fix-3", "fix-4"]
    assert phases[-1]["exit_code"] == 1
    assert phases[-1]["detail"].startswith("1 failed")


@pytest.mark.processes
def test_a_workspace_without_tests_has_nothing_to_repair(adapter: ModuleType) -> None:
    """The phase is there with its time, and no agent was started for it."""
    phases = _step(adapter, {})
    assert (phases[-1]["name"], phases[-1]["exit_code"], phases[-1]["detail"]) == ("fix", 0, "there are no tests")
    assert not (adapter.OUT / "phases" / "fix.task.yaml").exists()


def test_the_feature_at_hand_is_asked_about(recipe_module: Load, tmp_path: Path) -> None:
    """Spec Kit's pointer says which specification counts; without it the one with the highest number does."""
    questions = recipe_module("ghspec", "questions")
    for name in ("001-a", "002-b"):
        (tmp_path / "specs" / name).mkdir(parents=True)
        (tmp_path / "specs" / name / "spec.md").write_text(f"[NEEDS CLARIFICATION: {name}?] " * 2)
    pointer = tmp_path / "feature.json"
    assert questions.find(tmp_path, pointer) == ["002-b?"]
    pointer.write_text('{"feature_directory": "specs/001-a"}')
    assert questions.find(tmp_path, pointer) == ["001-a?"]
    pointer.write_text('{"feature_directory": "specs/003-c"}')
    assert questions.find(tmp_path, pointer) == []
