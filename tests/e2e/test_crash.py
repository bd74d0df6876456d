"""Killed or interrupted at any moment, the next `runner go` loses nothing and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest
from support.project import Project, cgroups_of, left_in_engine

pytestmark = pytest.mark.e2e


def _wait_for_container(project: Project, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not left_in_engine(project):
        assert time.monotonic() < end, "no container appeared"
        time.sleep(0.1)


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
    _wait_for_container(probe)
    time.sleep(moment)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=10)
    again = probe.run("go", "slow", "--jobs", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    _assert_all_done_once(probe)
    assert {path: (path / "metadata.json").stat().st_mtime_ns for path in finished} == finished
    assert not (probe.runs / ".superseded").exists(), "a run that was cut off goes on, and is not done again"
    attempts = [len(step["attempts"]) for record in _records(probe) for step in record["steps"]]
    assert max(attempts) <= 2


def test_the_first_interrupt_stops_and_collects(probe: Project) -> None:
    """Ctrl-C ends running steps, records them as cancelled, exits 130, and `go` continues."""
    running = probe.start("go", "slow", "--jobs", "2")
    _wait_for_container(probe)
    time.sleep(0.5)
    os.kill(running.pid, signal.SIGINT)
    text, _ = running.communicate(timeout=60)
    assert running.returncode == 130, text
    assert left_in_engine(probe) == []
    outcomes = {json.loads((path / "metadata.json").read_text())["outcome"] for path in probe.directories()}
    assert "cancelled" in outcomes
    assert None not in outcomes
    again = probe.run("go", "slow", "--jobs", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    _assert_all_done_once(probe)


def test_the_second_interrupt_stops_at_once(probe: Project) -> None:
    """A second Ctrl-C does not wait for anything, and what it leaves is swept by the next `go`."""
    running = probe.start("go", "slow", "--jobs", "2")
    _wait_for_container(probe)
    time.sleep(0.5)
    os.kill(running.pid, signal.SIGINT)
    time.sleep(0.05)
    os.kill(running.pid, signal.SIGINT)
    begun = time.monotonic()
    text, _ = running.communicate(timeout=60)
    assert running.returncode == 130, text
    assert time.monotonic() - begun < 10
    again = probe.run("go", "slow", "--jobs", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    _assert_all_done_once(probe)


def test_a_second_go_at_the_same_time_is_refused(probe: Project) -> None:
    """Two at once never do the same run twice: the second says who is at work."""
    running = probe.start("go", "slow", "--jobs", "2")
    _wait_for_container(probe)
    second = probe.run("go", "slow")
    assert second.returncode == 6
    assert f"process {running.pid}" in second.stderr
    text, _ = running.communicate(timeout=60)
    assert running.returncode == 0, text
    _assert_all_done_once(probe)
