"""The recipe of BAEs: its adapter, and scripted answers that fit the framework and the scenarios."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner.gateway.answers import ScriptedAnswer, load_answers
from runner.spec.load import load_framework, load_scenario
from runner.spec.models import GitSource
from runner.spec.project import Project

Load = Callable[[str, str], ModuleType]

CALLS = ("You are an Entity Recognition specialist", "As a (.+)", "Generate FastAPI router code for the (.+) entity")
"""Beginnings of the three requests of a step: what it is about, what is to be done, the routes."""
OPERATIONS = {
    "student": "create",
    "student-email": "evolve",
    "course": "create",
    "student-courses": "relationship",
    "teacher": "create",
    "course-teacher": "relationship",
}
ROUTE = re.compile(r"`(GET|POST|PUT|DELETE) (/[a-z][^?` ]*)")

PROGRAM = """
import json, os, sys
from pathlib import Path
sys.stdout.write("\\x1b[96m\\x1b[1mStep 1/3: Database Setup")
print("...\\x1b[0m")
print("   approved\\n\\nStep 2/3: Databaseswea.Create Relationships...\\nStep 3/3: API Generation...")
Path("left-by-the-framework").write_text(json.dumps([sys.argv[1:], os.environ["OPENAI_MODEL"]]))
"""


@pytest.fixture
def adapter(recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter, with a stand-in for the framework's program and folders of the test's own."""
    module = recipe_module("baes", "adapter")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["adapter.py"])
    monkeypatch.setenv("RUNNER_MODEL", "some/model")
    monkeypatch.setenv("OPENAI_MODEL", "another")
    monkeypatch.setenv("BAE_CONTEXT_STORE_PATH", "/state/baes/database/context_store.json")
    for name, value in (("PROGRAM", "program.py"), ("PROMPT", "prompt.txt"), ("OUT", "out"), ("HOME", "state/baes")):
        monkeypatch.setattr(module, name, tmp_path / value)
    (tmp_path / "out").mkdir()
    (tmp_path / "prompt.txt").write_text("\n  Keep students.\nAnd their 'courses'.\n\n")
    return module


def _ends(adapter: ModuleType, program: str) -> tuple[int, dict[str, Any]]:
    """Carry out a step in which the framework does what `program` says; return exit code and result.json."""
    adapter.PROGRAM.write_text(program)
    code: int = adapter.main()
    return code, json.loads((adapter.OUT / "result.json").read_text())


def test_the_framework_gets_request_model_and_state(adapter: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The prompt is one argument; the model's name is in the variable it reads; what it writes lands in the state."""
    code, _ = _ends(adapter, PROGRAM)
    assert code == 0
    arguments, model = json.loads((adapter.HOME / "left-by-the-framework").read_text())
    store = ["--context-store", "/state/baes/database/context_store.json"]
    assert arguments == ["--request", "Keep students.\nAnd their 'courses'.", *store, "--output-json", "--quiet"]
    assert model == "some/model"
    assert capsys.readouterr().out.endswith("Step 3/3: API Generation...\n")


def test_announced_tasks_become_phases(adapter: ModuleType) -> None:
    """Each announcement begins a phase; what comes before the first is the interpretation; none overlaps another."""
    _, result = _ends(adapter, PROGRAM)
    phases = result["phases"]
    assert [phase["name"] for phase in phases] == [
        "interpret",
        "database-setup",
        "create-relationships",
        "api-generation",
    ]
    assert [phase["exit_code"] for phase in phases] == [0, 0, 0, 0]
    begins = [phase["started_at"] for phase in phases]
    assert begins == sorted(begins)
    assert all(phase["seconds"] >= 0 for phase in phases)


def test_a_failed_request_fails_its_last_phase(adapter: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is the framework's, the reason is in its own words."""
    told = {
        "success": False,
        "result": {"error": "MAX_RETRIES_REACHED", "message": "after 3", "details": {"last_error": "x"}},
    }
    code, result = _ends(adapter, f"{PROGRAM}\nprint(json.dumps({told!r}, indent=2))\nsys.exit(1)\n")
    assert code == 1
    assert result["message"] == "MAX_RETRIES_REACHED: after 3: x"
    assert [phase["exit_code"] for phase in result["phases"]] == [0, 0, 0, 1]
    assert capsys.readouterr().err == "adapter: MAX_RETRIES_REACHED: after 3: x\n"


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ('print(json.dumps({"success": True, "result": {"message": "done"}}, indent=2)); sys.exit(0)', 0, "done"),
        ('print(json.dumps({"success": False, "error": "no such thing"}, indent=2)); sys.exit(1)', 1, "no such thing"),
        ('print("{\\n  cut off"); sys.exit(1)', 1, "the framework ended with exit code 1 and printed no result"),
        ('sys.exit("words")', 1, "the framework ended with exit code 1 and printed no result"),
        ("sys.exit()", 0, "the framework ended with exit code 0 and printed no result"),
    ],
)
def test_every_ending_is_told(adapter: ModuleType, end: str, code: int, message: str) -> None:
    """An exit code and a sentence come out of every way in which the program can end."""
    found, result = _ends(adapter, f"{PROGRAM}\n{end}\n")
    assert (found, result["message"]) == (code, message)


def test_a_crash_leaves_the_phases(adapter: ModuleType) -> None:
    """An exception of the framework's goes on, after what is known has been written; standard output is itself again."""
    before = sys.stdout
    with pytest.raises(ZeroDivisionError):
        _ends(adapter, f"{PROGRAM}\n1 / 0\n")
    assert sys.stdout is before
    result = json.loads((adapter.OUT / "result.json").read_text())
    assert result["phases"][-1] | {"started_at": 0, "seconds": 0} == {
        "name": "api-generation",
        "started_at": 0,
        "seconds": 0,
        "exit_code": 1,
        "detail": "until the process ended",
    }


def test_a_killed_step_has_reported_its_phases(adapter: ModuleType) -> None:
    """result.json is written when a phase begins, so that a step that is killed in it has told so."""
    seen = (
        "from pathlib import Path\nprint('Step 1/2: UI Generation...')\n"
        "Path('seen').write_text(Path({!r}).read_text())\n"
    )
    _ends(adapter, seen.format(str(adapter.OUT / "result.json")))
    result = json.loads((adapter.HOME / "seen").read_text())
    assert result["message"] == "ui-generation has not ended"
    assert [(phase["name"], phase["exit_code"]) for phase in result["phases"]] == [
        ("interpret", 0),
        ("ui-generation", None),
    ]


def test_recipe_keeps_run_state_out_of_image_and_workspace(project: Project) -> None:
    """The source is one commit; the product lies in the workspace, the framework's memory in the state."""
    framework = load_framework(project, "baes").value
    assert isinstance(framework.source, GitSource)
    assert (framework.network, framework.writable) == ("gateway", ())
    assert framework.environment["MANAGED_SYSTEM_PATH"] == "/workspace/managed_system"
    assert framework.environment["BAE_CONTEXT_STORE_PATH"].startswith("/state/")
    assert (project.images / "baes" / "README.md").is_file()


def _steps(project: Project, scenario: str) -> dict[str, tuple[ScriptedAnswer, ...]]:
    return load_answers(project.images / "baes" / "answers" / f"{scenario}.yaml").steps


@pytest.mark.parametrize("scenario", ["crud", "hello"])
def test_answers_fit_the_calls_of_each_step(project: Project, scenario: str) -> None:
    """Each step of the scenario has its three calls; the entity that the first names is that of the other two."""
    steps = _steps(project, scenario)
    assert list(steps) == [step.id for step in load_scenario(project, scenario).value.steps if step.enabled]
    for name, answers in steps.items():
        assert len(answers) == len(CALLS), name
        for answer, call in zip(answers, CALLS, strict=True):
            assert re.fullmatch(call, answer.expect or ""), name
        entity = _json(answers[0])["detected_entity"].capitalize()
        assert answers[2].expect == f"Generate FastAPI router code for the {entity} entity"
        told = _json(answers[1])
        assert told.get("entity", told.get("entity_focus")) == entity


def _json(answer: ScriptedAnswer) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(answer.content or "")
    return content


def test_answers_take_every_way_through_the_framework(project: Project) -> None:
    """Entities are created, one is extended, and two relationships are made: each has tasks of its own."""
    steps = _steps(project, "crud")
    assert {name: _json(answers[1])["operation_type"] for name, answers in steps.items()} == OPERATIONS


def test_every_route_of_the_scenario_is_served(project: Project) -> None:
    """The routes that the prompts ask for are in the code of each entity's last step, below the framework's prefix."""
    served = {route for code in _last_code(project).values() for route in _routes(code)}
    prompts = "\n".join(step.prompt or "" for step in load_scenario(project, "crud").value.steps)
    asked = {(method, path) for method, path in ROUTE.findall(prompts) if path != "/health"}
    assert len(asked) == 20
    assert {(method, _bare(path)) for method, path in asked} == served


def _last_code(project: Project) -> dict[str, str]:
    """Return the code of each entity as the scenario's last step leaves it."""
    return {
        _json(answers[0])["detected_entity"]: answers[2].content or "" for answers in _steps(project, "crud").values()
    }


def _routes(code: str) -> list[tuple[str, str]]:
    """Return method and path of each route of a module, with nameless parameters and without the last slash."""
    found = []
    for function in ast.walk(ast.parse(code)):
        for decorator in getattr(function, "decorator_list", ()):
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute):
                path = ast.literal_eval(decorator.args[0])
                found.append((decorator.func.attr.upper(), _bare(path)))
    assert found
    return found


def _bare(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path).rstrip("/")


@pytest.mark.parametrize("scenario", ["crud", "hello"])
def test_code_is_python_below_the_prefix(project: Project, scenario: str) -> None:
    """All code compiles, and its router has the prefix that the framework's prompt asks for."""
    for name, answers in _steps(project, scenario).items():
        code = answers[2].content or ""
        compile(code, name, "exec")
        assert 'router = APIRouter(prefix="/api", tags=["' in code
