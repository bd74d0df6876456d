"""An experiment that goes on without its terminal, and is watched, held and stopped from others."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable

import pytest
from support.project import Project, left_in_engine

pytestmark = pytest.mark.e2e


def _until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def _detach(project: Project, *arguments: str) -> int:
    """Start a `go` that goes on alone, and return its process."""
    said = project.run("go", "slow", "--detach", *arguments)
    assert said.returncode == 0, said.stdout + said.stderr
    found = re.search(r"process (\d+)", said.stdout)
    assert found, said.stdout
    return int(found[1])


def _under_way(project: Project) -> list[str]:
    records = [json.loads((path / "metadata.json").read_text()) for path in project.directories()]
    return [record["run"]["id"] for record in records if record["outcome"] is None]


def test_an_evening_without_a_terminal(probe: Project) -> None:
    """Detached, watched, held and let go on, it comes to what it would have come to, and says so to who watches."""
    pid = _detach(probe, "--repetitions", "2", "--jobs", "1")
    second = probe.run("go", "slow", "--detach")
    assert second.returncode == 6
    assert f"process {pid}" in second.stderr
    assert "runner attach" in second.stderr
    held = probe.run("pause", "--message", "a demo")
    assert "begins nothing new" in held.stdout
    log = probe.runs / ".control" / "go.log"
    _until(lambda: "waiting:" in log.read_text())
    assert "a demo" in log.read_text()
    steps = list(probe.runs.glob("probe/*/steps/*/metadata.json"))
    time.sleep(3)
    assert list(probe.runs.glob("probe/*/steps/*/metadata.json")) == steps, "nothing begins while it is held"
    assert "goes on" in probe.run("resume").stdout
    watched = probe.run("attach", timeout=120)
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert "2 runs: 2 passed" in watched.stdout
    assert "finished" in watched.stdout
    assert left_in_engine(probe) == []
    later = probe.run("attach", "--json")
    assert [run["outcome"] for run in json.loads(later.stdout)["runs"]] == ["passed", "passed"]


def test_one_run_is_stopped_and_the_others_pass(probe: Project) -> None:
    """The run that is cancelled is recorded so, its container is gone, and the others are not disturbed."""
    _detach(probe, "--repetitions", "3", "--jobs", "2")
    _until(lambda: len(_under_way(probe)) == 2 and left_in_engine(probe))
    chosen = _under_way(probe)[0]
    stopped = probe.run("cancel", chosen)
    assert stopped.returncode == 0, stopped.stderr
    assert "it has ended: cancelled" in stopped.stdout
    again = probe.run("cancel", chosen)
    assert again.returncode == 2
    assert "has ended: cancelled" in again.stderr
    watched = probe.run("attach", timeout=120)
    assert watched.returncode == 130
    assert "3 runs: 2 passed, 1 cancelled" in watched.stdout
    assert left_in_engine(probe) == []
    assert probe.run("go", "slow", "--repetitions", "3").returncode == 0


def test_everything_is_stopped(probe: Project) -> None:
    """`cancel --all` is Ctrl-C from elsewhere: evidence is kept, nothing stays in the engine, `go` continues."""
    _detach(probe, "--repetitions", "2", "--jobs", "2")
    _until(lambda: left_in_engine(probe))
    said = probe.run("cancel", "--all")
    assert said.returncode == 0, said.stderr
    assert "it has ended" in said.stdout
    assert left_in_engine(probe) == []
    assert _under_way(probe) == []
    nobody = probe.run("cancel", "--all")
    assert nobody.returncode == 2
    assert "no runner is at work" in nobody.stderr
    assert probe.run("go", "slow", "--repetitions", "2").returncode == 0


def test_a_runner_that_was_killed_is_told_of(probe: Project) -> None:
    """Whoever watches a runner that dies without a word hears that it did, and what to type."""
    pid = _detach(probe, "--repetitions", "2", "--jobs", "2")
    _until(lambda: left_in_engine(probe))
    os.kill(pid, signal.SIGKILL)
    watched = probe.run("attach")
    assert watched.returncode == 7
    assert f"the runner (process {pid}) ended without a word" in watched.stderr
    assert "runner go slow" in watched.stderr
    assert probe.run("go", "slow", "--repetitions", "2").returncode == 0
    assert left_in_engine(probe) == []


def test_what_was_cut_off_is_given_up(probe: Project) -> None:
    """With no runner at work a run that was cut off ends as cancelled, its container with it; the next `go` does it again."""
    pid = _detach(probe, "--repetitions", "1")
    _until(lambda: _under_way(probe) and left_in_engine(probe))
    os.kill(pid, signal.SIGKILL)
    (name,) = _under_way(probe)
    said = probe.run("cancel", name)
    assert said.returncode == 0, said.stderr
    assert f"probe/{name} had been cut off; it has ended: cancelled: stopped by the user" in said.stdout
    assert left_in_engine(probe) == []
    assert _under_way(probe) == []
    again = probe.run("cancel", name)
    assert again.returncode == 2
    assert "has ended: cancelled" in again.stderr
    done = probe.run("go", "slow", "--repetitions", "1")
    assert done.returncode == 0, done.stderr
    assert "cancelled last time: stopped by the user" in done.stdout


def test_what_is_wrong_is_said_at_once(probe: Project) -> None:
    """A mistake in the configuration is shown by the `go` that was typed, not in a log."""
    said = probe.run("go", "sloww", "--detach")
    assert said.returncode == 2
    assert "slow" in said.stderr
    refused = probe.run("go", "slow", "--detach", "--json")
    assert refused.returncode == 2
    assert "runner attach --json" in refused.stderr
    assert probe.run("attach").returncode == 2
