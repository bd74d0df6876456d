"""The project's own scenarios and experiments: they can be planned, and their checks can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.plan.check import check_graphs
from runner.plan.steps import plan_start
from runner.spec.load import experiment_names, load_all, load_scenario, scenario_names
from runner.spec.overrides import Overrides
from runner.spec.project import Project

PROJECT = Project(Path(__file__).resolve().parents[3])
OUT = "/out/checks.json"
"""Where a program check writes what it found."""


@pytest.mark.parametrize("name", experiment_names(PROJECT))
def test_experiments_can_be_planned(name: str) -> None:
    """Everything an experiment names is there, scripted answers among it."""
    inputs = load_all(PROJECT, name, Overrides(), {})
    check_graphs(inputs)
    assert inputs.checker is not None


@pytest.mark.parametrize("name", scenario_names(PROJECT))
def test_every_scenario_is_judged_in_the_end(name: str) -> None:
    """A scenario without checks would say that a framework ended, and nothing of what it built."""
    scenario = load_scenario(PROJECT, name).value
    assert scenario.checks
    assert len({one.id for one in scenario.checks}) == len(scenario.checks)


def _judge(script: Path, workspace: Path) -> dict[str, str]:
    """Run a check on a folder and return each assertion's verdict."""
    written = workspace.parent / "checks.json"
    text = script.read_text(encoding="utf-8")
    assert text.count(OUT) == 1
    subprocess.run(
        [sys.executable, "-c", text.replace(OUT, str(written))], cwd=workspace, check=False, capture_output=True
    )
    found = json.loads(written.read_text(encoding="utf-8"))
    return {one["id"]: one["verdict"] for one in found["assertions"]}


@pytest.mark.processes
@pytest.mark.parametrize(
    "name", ["hello/greets.py", "data-cli/check_totals.py", "data-cli/check_months.py", "bug-fix/refusals.py"]
)
def test_a_check_passes_nothing_that_is_not_there(name: str, tmp_path: Path) -> None:
    """In an empty folder every assertion fails."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    assert set(_judge(PROJECT.scenarios / name, workspace).values()) == {"failed"}


@pytest.mark.processes
def test_the_seeded_bug_is_found_and_nothing_else(tmp_path: Path) -> None:
    """On the repository as it is in the bundle: what was reported fails, what worked before passes."""
    workspace = tmp_path / "workspace"
    bundle = PROJECT.scenarios / "bug-fix" / "intervals.bundle"
    subprocess.run(
        ["git", "clone", "--quiet", "--branch", "main", str(bundle), str(workspace)], check=True, capture_output=True
    )
    unions = _judge(PROJECT.scenarios / "bug-fix" / "unions.py", workspace)
    assert [name for name, verdict in unions.items() if verdict == "failed"] == [
        "unions.contained",
        "unions.contained.behind",
        "unions.contained.chain",
        "unions.tests.added",
    ]
    refusals = _judge(PROJECT.scenarios / "bug-fix" / "refusals.py", workspace)
    assert [name for name, verdict in refusals.items() if verdict == "passed"] == ["refusals.blanks"]


def test_the_bug_fix_begins_with_the_bundle() -> None:
    """The commit that is checked out is that of the branch, and its digest is part of the run."""
    start = plan_start(load_scenario(PROJECT, "bug-fix").value)
    assert start is not None
    assert (start.ref, start.commit) == ("refs/heads/main", "a96374fc4ca75f722f8e61d2f53a2c18d7709cb0")
