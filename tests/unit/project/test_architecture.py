"""Rules of the house that no other tool checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted((ROOT / "runner").rglob("*.py"))
FILE_LINES = 350
FUNCTION_LINES = 60


def _parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` for a chain of names, or an empty text."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
        case _:
            return ""


def test_files_stay_readable() -> None:
    """No source file is longer than a few screens."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_stay_readable() -> None:
    """No function is longer than a screen."""
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in _parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES
    ]
    assert long == []


def test_only_the_command_line_prints_and_exits() -> None:
    """Outside of runner/cli and the gateway's entry point nothing prints or ends the process."""
    banned = {"print", "sys.exit", "exit", "quit", "os._exit"}
    found = [
        f"{name}:{node.lineno} {_dotted(node.func)}"
        for name, tree in _parsed()
        if not name.startswith("runner/cli/") and not name.endswith("/__main__.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _dotted(node.func) in banned
    ]
    assert found == []


def test_the_environment_is_handed_in() -> None:
    """Only the command line's entry points look at the process's environment, and nobody changes it."""
    entries = {"runner/cli/main.py", "runner/gateway/__main__.py", "runner/api/place.py"}
    found = [
        f"{name}:{node.lineno}"
        for name, tree in _parsed()
        if name not in entries
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and _dotted(node) in {"os.environ", "os.getenv", "os.putenv", "os.environb"}
    ]
    assert found == []


def test_errors_are_caught_by_name() -> None:
    """Any exception is swallowed only where it becomes terminal text, an outcome or a call's record; else raised again."""
    allowed = {"runner/cli/main.py", "runner/execution/run.py", "runner/gateway/server.py"}
    found = [
        f"{name}:{node.lineno}"
        for name, tree in _parsed()
        if name not in allowed
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or _dotted(node.type) in {"Exception", "BaseException"})
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]
    assert found == []


@pytest.mark.processes
def test_importing_does_nothing() -> None:
    """Importing the package or the command line's entry loads none of the libraries it depends on."""
    code = "import sys, runner, runner.cli.main; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {"pydantic", "docker", "aiohttp", "yaml", "loguru", "rich", "tenacity", "zstandard", "asyncio", "sqlite3"}
    assert heavy & set(done.stdout.split()) == set()


def test_frameworks_are_known_to_their_recipes_only() -> None:
    """No framework is named in the code, but for the examples of the command line."""
    recipes = (ROOT / "images").glob("*/framework.yaml")
    # What judges is no framework.
    frameworks = {path.parent.name for path in recipes if "\nrole: checker\n" not in path.read_text(encoding="utf-8")}
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        if "cli" not in path.relative_to(ROOT).parts
        for name in frameworks
        if name in path.read_text(encoding="utf-8")
    ]
    assert frameworks != set()
    assert found == []
