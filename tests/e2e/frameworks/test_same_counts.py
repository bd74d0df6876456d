"""The same answers from the scripted provider, from a server that speaks the real format, and from a recording."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, Project, copy_project
from support.upstream.starting import stated, upstream

from runner.gateway.answers import load_answers

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(900)]

KEY = "sk-same-counts-2e7d41"
COUNTS = ("api_calls", "tokens_in", "tokens_out", "tokens_cached")


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A copy of the project that the framework belongs to, with run directories of its own."""
    if request.node.callspec.params["framework"] == "caller":
        return copy_project("talk", tmp_path / "talk")
    for folder in ("config", "images"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    return Project(tmp_path)


def _go(project: Project, output: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Path:
    """Carry out the only run there is, which passes; return its directory."""
    result = project.run(*arguments, "--output", str(output), timeout=600, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = output.glob("[!.]*/*/metadata.json")
    assert json.loads(path.read_text())["outcome"] == "passed"
    return path.parent


def _counts(directory: Path) -> dict[str, Any]:
    metrics = json.loads((directory / "metrics.json").read_text())
    return {name: metrics[name] for name in COUNTS}


def _calls(directory: Path, *names: str) -> list[tuple[Any, ...]]:
    lines = (directory / "llm" / "calls.jsonl").read_text().splitlines()
    return [tuple(call[name] for name in names) for call in map(json.loads, lines)]


def _files(directory: Path) -> dict[str, bytes]:
    """Return the files of a run's workspace, by path."""
    root = directory / "generated_artifacts"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _script(project: Project, framework: str, scenario: str) -> Path:
    """Write the answers that the scripted provider has for a scenario as a server gives them: one after the other."""
    steps = load_answers(project.root / "images" / framework / "answers" / f"{scenario}.yaml").steps
    answers = [answer.model_dump(mode="json") for step in steps.values() for answer in step]
    path = project.root / "answers.json"
    path.write_text(json.dumps(answers))
    return path


@pytest.mark.parametrize(
    ("framework", "scenario", "calls"), [("caller", "talk", 3), ("mini-swe-agent", "hello", 3), ("ghspec", "hello", 15)]
)
def test_counts_are_the_same_whoever_answers(project: Project, framework: str, scenario: str, calls: int) -> None:
    """Calls, tokens and workspace are equal; a server's own statement is what is counted, now and in the replay."""
    what = ("--framework", framework, "--scenario", scenario, "--repetitions", "1")
    scripted = _go(project, project.root / "scripted", "go", *what)
    with upstream(KEY, answers=_script(project, framework, scenario)) as address:
        env = {**os.environ, "OPENAI_BASE_URL": f"{address}/v1", "OPENAI_API_KEY": KEY}
        served = _go(project, project.root / "served", "go", *what, "--model", "openai/upstream", env=env)
        told = stated(address)
    # A replay whose workspace differs says so with its exit code.
    replayed = _go(project, project.root / "replayed", "replay", str(served))
    counts = _counts(scripted)
    assert counts["api_calls"] == calls
    assert _counts(served) == _counts(replayed) == counts
    tokens = ("tokens_in", "tokens_out", "tokens_cached")
    assert _calls(served, *tokens) == [tuple(one[name] for name in tokens) for one in told]
    assert _calls(scripted, *tokens) == _calls(served, *tokens) == _calls(replayed, *tokens)
    sources = [{source for (source,) in _calls(run, "usage_source")} for run in (scripted, served, replayed)]
    assert sources == [{"rule"}, {"provider"}, {"provider"}]
    files = _files(scripted)
    assert files
    assert _files(served) == _files(replayed) == files
