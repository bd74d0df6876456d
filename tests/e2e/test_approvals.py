"""Runs that wait for a person, as a user decides on them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.gates import HOLDS, let_go, until_held
from support.project import Project, left_in_engine
from support.waiting import PATIENCE, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_WAITING = 8
"""Exit code of `go` when runs wait."""


def _record(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metadata.json").read_text())
    return found


def _hold(project: Project) -> None:
    """Have the steps beside and after the decision last until they are let go."""
    scenario = project.root / "config/scenarios/release.yaml"
    text = scenario.read_text()
    for sleep in ("sleep 2", "sleep 3"):
        assert text.count(sleep) == 1
        text = text.replace(sleep, HOLDS)
    scenario.write_text(text)


def test_a_suspended_run_survives_and_goes_on(probe: Project) -> None:
    """Suspended runs hold nothing, outlive the runner and a lost ledger, and each goes on as was decided on it."""
    assert probe.run("go", "release").returncode == _WAITING
    assert left_in_engine(probe) == []
    first, second = probe.directories()
    assert [[one["step"] for one in _record(run)["suspended"]] for run in (first, second)] == [["release"]] * 2
    draft = (first / "steps/step_001/metadata.json").stat().st_mtime_ns
    (probe.runs / ".ledger.sqlite").unlink()
    assert probe.run("ledger", "rebuild").returncode == 0
    assert probe.run("ledger", "check").returncode == 0
    waiting = json.loads(probe.run("runs", "--waiting", "--json").stdout)
    assert [one["waits_for"][0]["message"] for one in waiting] == ["Build 3 tables?"] * 2
    assert probe.run("go", "release").returncode == _WAITING, "nobody has decided, so nothing is done"
    assert probe.run("approve", first.name, "--message", "fine").returncode == 0
    assert probe.run("reject", f"{second.name}@release", "--message", "too many").returncode == 0
    assert probe.run("approve", second.name).returncode == 2
    done = probe.run("go", "release")
    assert done.returncode == 1, done.stdout + done.stderr
    approved, rejected = _record(first), _record(second)
    assert (approved["outcome"], approved["suspended"]) == ("passed", [])
    assert (rejected["outcome"], rejected["reason"]) == ("failed", "step release: rejected: too many")
    assert {path.name for path in (first / "generated_artifacts").iterdir()} == {"built.txt", "draft.txt", "notes.txt"}
    assert {path.name for path in (second / "generated_artifacts").iterdir()} == {"draft.txt", "notes.txt"}
    assert approved["steps"][1]["decision"]["message"] == "fine"
    assert (first / "steps/step_001/metadata.json").stat().st_mtime_ns == draft, "what was done is not repeated"
    assert json.loads((first / "metrics.json").read_text())["attempts"] == 3
    assert not list(probe.runs.glob("*/*/views"))
    assert probe.run("verify", first.name).returncode == 0
    assert left_in_engine(probe) == []


def test_a_decision_while_the_runner_is_at_work(probe: Project) -> None:
    """A decision that comes while another branch is under way is seen at once: one `go` is enough."""
    _hold(probe)
    running = probe.start("go", "release", "--repetitions", "1")
    (notes,) = until_held(probe.runs, "steps/step_004")
    run = notes.parents[1]
    until(lambda: list(run.glob("approvals/step_002.asked.json")), "nobody was asked")
    assert probe.run("approve", run.name).returncode == 0
    until_held(probe.runs, "steps/step_003")
    with let_go(probe.runs):
        text, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, text
    record = _record(run)
    steps = {one["id"]: one for one in record["steps"]}
    assert record["outcome"] == "passed"
    assert steps["build"]["started_at"] < steps["notes"]["finished_at"], "it did not wait for the other branch"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["wall_seconds"] < sum(one["wall_seconds"] or 0 for one in metrics["per_step"])


def test_a_runner_killed_after_going_on_asks_nobody_again(probe: Project) -> None:
    """A run that was cut off after a decision goes on where it was: what was decided stays decided."""
    _hold(probe)
    with let_go(probe.runs):
        assert probe.run("go", "release", "--repetitions", "1").returncode == _WAITING
    (run,) = probe.directories()
    assert probe.run("approve", run.name).returncode == 0
    running = probe.start("go", "release", "--repetitions", "1")
    until_held(probe.runs, "steps/step_003")
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=PATIENCE)
    with let_go(probe.runs):
        again = probe.run("go", "release", "--repetitions", "1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "goes on at step build" in again.stdout
    record = _record(run)
    assert record["outcome"] == "passed"
    assert record["steps"][1]["decision"]["decision"] == "approve"
    assert not list(probe.runs.glob(".superseded/probe/*"))
    assert left_in_engine(probe) == []
