"""An experiment that goes on without its terminal, and is watched, held and stopped from others."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest
from support.gates import let_go, until_held
from support.project import Project, left_in_engine
from support.waiting import PATIENCE, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def _detach(project: Project, *arguments: str) -> int:
    """Start a `go` that goes on alone, whose steps are held, and return its process."""
    said = project.run("go", "held", "--detach", *arguments)
    assert said.returncode == 0, said.stdout + said.stderr
    found = re.search(r"process (\d+)", said.stdout)
    assert found, said.stdout
    return int(found[1])


def _under_way(project: Project) -> list[str]:
    records = [json.loads((path / "metadata.json").read_text()) for path in project.directories()]
    return [record["run"]["id"] for record in records if record["outcome"] is None]


def _go_on(project: Project, *arguments: str) -> None:
    """Carry the experiment out to its end."""
    with let_go(project.runs):
        done = project.run("go", "held", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_evening_without_a_terminal(probe: Project) -> None:
    """Detached, watched, held and let go on, it comes to what it would have come to, and says so to who watches."""
    pid = _detach(probe, "--repetitions", "2", "--jobs", "1")
    until_held(probe.runs)
    second = probe.run("go", "held", "--detach")
    assert second.returncode == 6
    assert f"process {pid}" in second.stderr
    assert "runner attach" in second.stderr
    held = probe.run("pause", "--message", "a demo")
    assert "begins nothing new" in held.stdout
    log = probe.runs / ".control" / "go.log"
    with let_go(probe.runs):
        until(lambda: "waiting:" in log.read_text(), "nothing waits for the pause to end")
        assert "a demo" in log.read_text()
        steps = list(probe.runs.glob("probe/*/steps/*/metadata.json"))
        time.sleep(3)
        assert list(probe.runs.glob("probe/*/steps/*/metadata.json")) == steps, "nothing begins while it is held"
    assert "goes on" in probe.run("resume").stdout
    watching = probe.start("attach")
    assert watching.stdout is not None
    first = next((line for line in watching.stdout if "runs done" in line), "")
    with let_go(probe.runs):
        text, _ = watching.communicate(timeout=PATIENCE)
    assert "0 of 2 runs done" in first, text
    assert watching.returncode == 0, text
    assert "2 runs: 2 passed" in text
    assert "finished" in text
    assert left_in_engine(probe) == []
    later = probe.run("attach", "--json")
    assert [run["outcome"] for run in json.loads(later.stdout)["runs"]] == ["passed", "passed"]


def test_one_run_is_stopped_and_the_others_pass(probe: Project) -> None:
    """The run that is cancelled is recorded so, its container is gone, and the others are not disturbed."""
    _detach(probe, "--repetitions", "3", "--jobs", "2")
    until_held(probe.runs, runs_at_once=2)
    chosen = _under_way(probe)[0]
    stopped = probe.run("cancel", chosen)
    assert stopped.returncode == 0, stopped.stderr
    assert "it has ended: cancelled" in stopped.stdout
    again = probe.run("cancel", chosen)
    assert again.returncode == 2
    assert "has ended: cancelled" in again.stderr
    with let_go(probe.runs):
        watched = probe.run("attach")
    assert watched.returncode == 130
    assert "3 runs: 2 passed, 1 cancelled" in watched.stdout
    assert left_in_engine(probe) == []
    _go_on(probe, "--repetitions", "3")


def test_everything_is_stopped(probe: Project) -> None:
    """`cancel --all` is Ctrl-C from elsewhere: evidence is kept, nothing stays in the engine, `go` continues."""
    _detach(probe, "--repetitions", "2", "--jobs", "2")
    until_held(probe.runs)
    said = probe.run("cancel", "--all")
    assert said.returncode == 0, said.stderr
    assert "it has ended" in said.stdout
    assert left_in_engine(probe) == []
    assert _under_way(probe) == []
    nobody = probe.run("cancel", "--all")
    assert nobody.returncode == 2
    assert "no runner is at work" in nobody.stderr
    _go_on(probe, "--repetitions", "2")


def test_a_runner_that_was_killed_is_told_of(probe: Project) -> None:
    """Whoever watches a runner that dies without a word hears that it did, and what to type."""
    pid = _detach(probe, "--repetitions", "2", "--jobs", "2")
    until(lambda: left_in_engine(probe), "no container appeared")
    os.kill(pid, signal.SIGKILL)
    watched = probe.run("attach")
    assert watched.returncode == 7
    assert f"the runner (process {pid}) ended without a word" in watched.stderr
    assert "runner go held" in watched.stderr
    _go_on(probe, "--repetitions", "2")
    assert left_in_engine(probe) == []


def test_what_was_cut_off_is_given_up(probe: Project) -> None:
    """With no runner at work a run that was cut off ends as cancelled, its container with it; the next `go` does it again."""
    pid = _detach(probe, "--repetitions", "1")
    until(lambda: _under_way(probe) and left_in_engine(probe), "no container of a run appeared")
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
    with let_go(probe.runs):
        done = probe.run("go", "held", "--repetitions", "1")
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
