"""The numbers of a run that was judged again, as a user sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.project import copy_project

pytestmark = pytest.mark.e2e


def test_runs_show_what_was_judged_last(tmp_path: Path) -> None:
    """After `runner check` the list has the new quality, before and after a rebuild; `metrics.json` has the old one."""
    project = copy_project("judged", tmp_path / "judged")

    def listed() -> object:
        done = project.run("runs", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[0]["metrics"]["zero_defect"]

    scenario = project.root / "config" / "scenarios" / "shop.yaml"
    scenario.write_text(scenario.read_text().replace("broken courses", "courses"))
    assert project.run("go").returncode == 0
    (run,) = project.directories()
    assert listed() == json.loads((run / "metrics.json").read_text())["zero_defect"] == 1
    scenario.write_text(scenario.read_text().replace("test -s student.txt", "test -s missing.txt"))
    content = (run / "metrics.json").read_bytes()
    judged = project.run("check", run.name)
    assert judged.returncode == 1, judged.stderr
    assert listed() == 0
    assert (run / "metrics.json").read_bytes() == content
    assert project.run("ledger", "rebuild").returncode == 0
    assert listed() == 0
