"""An experiment whose runs all break for the same reason stops before it has gone through all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.project import Project, copy_project, left_in_engine

pytestmark = pytest.mark.e2e

WHY = "step first: command not found: 'python4', or the interpreter its first line names"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A framework whose command is not in its image, and eight repetitions of it."""
    project = copy_project("probe", tmp_path / "probe")
    recipe = project.root / "images" / "probe" / "framework.yaml"
    recipe.write_text(recipe.read_text().replace("command: [python3, /opt", "command: [python4, /opt", 1))
    experiment = project.root / "config" / "experiments" / "slow.yaml"
    experiment.write_text(experiment.read_text().replace("repetitions: 4", "repetitions: 8"))
    return project


def test_an_experiment_that_only_breaks_is_stopped(project: Project) -> None:
    """Three runs break, five stay planned; the last words say why and what to do, and so does the exit code."""
    result = project.run("go", "slow", "--jobs", "1")
    text = result.stdout + result.stderr
    assert result.returncode == 7, text
    assert f"stopped: 3 runs in a row broke for the same reason: {WHY}; no further run begins" in text
    assert "3 broken, 5 unfinished" in text
    assert "5 runs not begun; find the cause first, then go again: they stay planned" in text
    assert len(project.directories()) == 3
    assert left_in_engine(project) == []


def test_zero_goes_on_whatever_breaks(project: Project) -> None:
    """Who says so gets all of them, and the record of each says that it is not the framework's failure."""
    experiment = project.root / "config" / "experiments" / "slow.yaml"
    experiment.write_text(experiment.read_text() + "stop_after_broken: 0\n")
    result = project.run("go", "slow", "--json")
    shown = json.loads(result.stdout)
    assert (result.returncode, shown["exit_code"], shown["stopped"]) == (7, 7, "")
    assert [run["outcome"] for run in shown["runs"]] == ["broken"] * 8

    assert {run["reason"] for run in shown["runs"]} == {WHY}
