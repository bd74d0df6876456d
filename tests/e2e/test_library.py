"""The scenarios that come with the project, built with prepared answers and judged: a service on Node, a tool, bug fixes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.project import ROOT, Project

from runner.evidence.judged import whole_verdicts
from runner.evidence.layout import RunLayout

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(1800)]

WORK_SECONDS = 1500
SCENARIOS = ("rest-node", "data-cli", "bug-fix")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunLayout]:
    """Carry the experiment `library` out once; return where each scenario's run is."""
    root = tmp_path_factory.mktemp("library")
    for folder in ("config", "images"):
        shutil.copytree(ROOT / folder, root / folder, symlinks=True)
    project = Project(root)
    result = project.run("go", "library", timeout=WORK_SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    layouts = [RunLayout(directory) for directory in project.directories()]
    return {json.loads(one.metadata.read_text())["run"]["scenario"]: one for one in layouts}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_everything_that_was_asked_for_is_there(done: dict[str, RunLayout], scenario: str) -> None:
    """Every check of every step was performed and passed, and nothing was left unjudged."""
    verdicts = whole_verdicts(done[scenario])
    said = {(one.check, one.step, each.id): each.reason for one in verdicts for each in one.assertions}
    failed = {each.id for one in verdicts for each in one.assertions if each.verdict != "passed"}
    assert not failed, {name: reason for name, reason in said.items() if name[2] in failed}
    assert {one.verdict for one in verdicts} == {"passed"}


def test_the_service_on_node_has_its_measures(done: dict[str, RunLayout]) -> None:
    """Both steps are wholly effective, the first resource is still there after the second, and it has a price in tokens."""
    metrics = json.loads(done["rest-node"].metrics.read_text())
    assert [one["crud_effectiveness"] for one in metrics["per_step"]] == [1, 1]
    names = ("crud_effectiveness", "endpoint_success", "model_correctness", "availability", "carry_forward")
    assert [metrics[name] for name in names] == [1, 1, 1, 1, 1]
    assert (metrics["contamination"], metrics["human_interventions"]) == (0, 0)
    assert metrics["quality_per_token"] > 0
    assert metrics["about"]["quality_per_token"]["exact"] is False


def test_the_fix_is_small_and_the_past_is_there(done: dict[str, RunLayout]) -> None:
    """Only what the steps changed counts as theirs; the repository still has its commits."""
    layout = done["bug-fix"]
    first = json.loads(layout.metrics.read_text())["per_step"][0]
    assert (first["files_added"], first["files_changed"], first["lines_removed"]) == (0, 2, 1)
    log = _git(layout.workspace, "log", "--format=%s")
    assert log.splitlines() == ["Intervals as text, and a command line", "The union of intervals"]


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout
