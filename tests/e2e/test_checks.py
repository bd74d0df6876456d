"""Runs that are judged, as a user sees them, and judged again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.project import Project, copy_project, left_in_engine
from support.waiting import until

from runner.evidence.layout import RunLayout
from runner.evidence.verify import verify_archive

pytestmark = pytest.mark.e2e


@pytest.fixture
def judged(tmp_path: Path) -> Project:
    """A project whose runs are judged."""
    return copy_project("judged", tmp_path / "judged")


def _verdicts(file: Path) -> list[tuple[str, str, int, int, int]]:
    found = json.loads(file.read_text())["checks"]
    return [(one["check"], one["step"], one["passed"], one["failed"], one["unjudged"]) for one in found]


def _lines(project: Project, *arguments: str) -> str:
    done = project.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_run_is_judged_and_judged_again(judged: Project) -> None:
    """Each step is judged as it was then; editing checks runs nothing again, and new verdicts stand beside old ones."""
    assert judged.run("go").returncode == 0
    (run,) = judged.directories()
    layout = RunLayout(run)
    assert _verdicts(layout.checks) == [
        ("api", "student", 1, 0, 0),
        ("api", "course", 1, 1, 0),
        ("own", "course", 1, 0, 0),
    ]
    assert _verdicts(layout.step(1).checks) == [("api", "student", 1, 0, 0)]
    shown = _lines(judged, "show", run.name)
    assert "checks: 3 of 4, 1 failed" in shown
    assert "api after course: failed course.create.valid: course.txt is not there or is broken" in shown
    assert "3 of 4, 1 failed" in _lines(judged, "runs")
    assert "checks: 3 of 4, 1 failed" in layout.readme.read_text()
    old = {path: path.read_bytes() for path in (layout.step(1).checks, layout.step(2).checks, layout.metadata)}

    scenario = judged.root / "config" / "scenarios" / "shop.yaml"
    scenario.write_text(scenario.read_text().replace("test -s student.txt", "test -s missing.txt"))
    assert "1 run" in _lines(judged, "go")
    assert len(judged.directories()) == 1
    again = judged.run("check", run.name)
    assert again.returncode == 1, again.stderr
    assert "checks: 2 of 4, 2 failed" in again.stdout
    assert {path: path.read_bytes() for path in old} == old
    (kept,) = (run / "checks").iterdir()
    assert _verdicts(RunLayout(kept).step(2).checks) == [("api", "course", 1, 1, 0), ("own", "course", 0, 1, 0)]
    assert _verdicts(layout.checks)[2] == ("own", "course", 0, 1, 0)
    assert verify_archive(layout.archive("zstd")) == []
    assert judged.run("verify", run.name).returncode == 0
    assert left_in_engine(judged) == []


def test_any_folder_is_judged(judged: Project, tmp_path: Path) -> None:
    """A folder that no run left is judged by a scenario's checks, and nothing is written to it."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "student.txt").write_text("x")
    (folder / "course.txt").write_text("x")
    done = judged.run("check", str(folder), "--scenario", "shop", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert [(one["check"], one["passed"], one["failed"]) for one in found["checks"]] == [("api", 2, 0), ("own", 1, 0)]
    assert found["kept"] is None
    assert sorted(path.name for path in folder.iterdir()) == ["course.txt", "student.txt"]
    (folder / "course.txt").unlink()
    one = judged.run("check", str(folder), "--scenario", "shop", "--check", "api")
    assert one.returncode == 1
    assert "failed course.create.valid" in one.stdout
    without = judged.run("check", str(folder))
    assert without.returncode == 2
    assert "name a scenario with --scenario" in without.stderr
    assert "shop" in without.stderr


def test_image_that_cannot_be_built(judged: Project) -> None:
    """Without the image that judges runs pass, nothing is judged, and both say why."""
    (judged.root / "images" / "checker" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN exit 7\n")
    done = judged.run("go")
    assert done.returncode == 5, done.stderr
    assert "1 run: 1 passed" in done.stdout
    (run,) = judged.directories()
    assert [one[2:] for one in _verdicts(RunLayout(run).checks)] == [(0, 0, 1)] * 3
    assert "there is no image that judges" in _lines(judged, "show", run.name)
    assert judged.run("check", run.name).returncode == 5


def test_run_that_is_killed_while_it_is_judged(judged: Project) -> None:
    """The next `go` does no step again: what was judged counts, what was cut off is judged, and nothing is left."""
    scenario = judged.root / "config" / "scenarios" / "shop.yaml"
    text = scenario.read_text()
    scenario.write_text(text.replace("script: test -s student.txt", "script: sleep 120; test -s student.txt"))
    runner = judged.start("go")
    until(
        lambda: any([*(path / "judging").glob("*own")] for path in judged.directories()) and _running(judged),
        "the second check did not begin",
    )
    (run,) = judged.directories()
    before = RunLayout(run).step(1).checks.read_bytes()
    os.killpg(runner.pid, signal.SIGKILL)
    runner.communicate()
    scenario.write_text(text)
    assert judged.run("go").returncode == 0
    layout = RunLayout(run)
    assert judged.directories() == [run]
    assert layout.step(1).checks.read_bytes() == before
    assert [one[0] for one in _verdicts(layout.step(2).checks)] == ["api", "own"]
    assert not layout.judging.exists()
    assert json.loads(layout.metadata.read_text())["steps"][1]["attempts"][0]["attempt"] == 1
    assert verify_archive(layout.archive("zstd")) == []
    assert left_in_engine(judged) == []


def _running(project: Project) -> list[str]:
    return [name for name in left_in_engine(project) if "-check-" in name]
