"""Killed or interrupted at any moment, the next `runner go` loses nothing and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.gates import let_go, until_held
from support.project import Project, cgroups_of, left_in_engine
from support.waiting import PATIENCE, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def _records(project: Project) -> list[dict[str, Any]]:
    return [json.loads((path / "metadata.json").read_text()) for path in project.directories()]


def _assert_all_done_once(project: Project) -> None:
    records = _records(project)
    assert sorted(record["run"]["repetition"] for record in records) == [1, 2, 3, 4]
    assert {record["outcome"] for record in records} == {"passed"}
    for path in project.directories():
        assert (path / "generated_artifacts/notes.txt").read_text() == "one more line\n" * 2
        assert (path / "run.tar.zst").exists()
    assert left_in_engine(project) == []
    assert cgroups_of(project) == set()
    assert not list(project.runs.rglob(".tmp-*"))


@pytest.mark.parametrize("moment", [0.3, 1.2, 2.4])
def test_a_killed_runner_loses_nothing(probe: Project, moment: float) -> None:
    """SIGKILL in the middle: the next `go` waits for what still runs, collects what has ended, and goes on from there."""
    probe.run("go", "slow", "--repetitions", "1")
    finished = {path: (path / "metadata.json").stat().st_mtime_ns for path in probe.directories()}
    running = probe.start("go", "slow", "--jobs", "2")
    until(lambda: left_in_engine(probe), "no container appeared")
    time.sleep(moment)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=PATIENCE)
    again = probe.run("go", "slow", "--jobs", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    _assert_all_done_once(probe)
    assert {path: (path / "metadata.json").stat().st_mtime_ns for path in finished} == finished
    assert not (probe.runs / ".superseded").exists(), "a run that was cut off goes on, and is not done again"
    attempts = [len(step["attempts"]) for record in _records(probe) for step in record["steps"]]
    assert max(attempts) <= 2


def test_the_first_interrupt_stops_and_collects(probe: Project) -> None:
    """Ctrl-C ends running steps, records them as cancelled, exits 130, and `go` continues."""
    running = probe.start("go", "held", "--jobs", "2")
    until_held(probe.runs)
    os.kill(running.pid, signal.SIGINT)
    text, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, text
    assert left_in_engine(probe) == []
    outcomes = {json.loads((path / "metadata.json").read_text())["outcome"] for path in probe.directories()}
    assert "cancelled" in outcomes
    assert None not in outcomes
    _assert_the_next_ends_it(probe)


def test_the_second_interrupt_stops_at_once(probe: Project) -> None:
    """A second Ctrl-C does not wait for what will not end, and what it leaves is swept by the next `go`."""
    _replace(probe.root / "config/scenarios/held.yaml", "prompt: hold", "prompt: deaf")
    _replace(probe.root / "config/experiments/held.yaml", "grace: 1s", f"grace: {PATIENCE:g}s")
    running = probe.start("go", "held", "--jobs", "2")
    until_held(probe.runs)
    os.kill(running.pid, signal.SIGINT)
    assert running.stdout is not None
    # Two signals that are not taken one by one are one.
    said = next((line for line in running.stdout if "once more to stop at once" in line), "")
    os.kill(running.pid, signal.SIGINT)
    text, _ = running.communicate(timeout=PATIENCE / 2)
    assert said, text
    assert running.returncode == 130, text
    assert left_in_engine(probe) != [], "it would have waited for these"
    _assert_the_next_ends_it(probe)


def test_a_second_go_at_the_same_time_is_refused(probe: Project) -> None:
    """Two at once never do the same run twice: the second says who is at work."""
    running = probe.start("go", "held", "--jobs", "2")
    until_held(probe.runs)
    second = probe.run("go", "held")
    assert second.returncode == 6
    assert f"process {running.pid}" in second.stderr
    with let_go(probe.runs):
        text, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, text
    _assert_all_done_once(probe)


def _assert_the_next_ends_it(project: Project) -> None:
    with let_go(project.runs):
        again = project.run("go", "held", "--jobs", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    _assert_all_done_once(project)


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
