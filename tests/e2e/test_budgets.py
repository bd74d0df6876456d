"""Budgets as a user meets them: a run that uses one up ends as exceeded, and an experiment keeps to its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.project import Project, left_in_engine

pytestmark = pytest.mark.e2e


def _limit(project: Project, budgets: str) -> None:
    """Give the experiment budgets."""
    path = project.root / "config" / "experiments" / "default.yaml"
    path.write_text(f"{path.read_text()}\nbudgets: {budgets}\n")


def _outcomes(project: Project) -> dict[int, tuple[str, str]]:
    """Return outcome and reason of each repetition."""
    records: list[dict[str, Any]] = [json.loads((path / "metadata.json").read_text()) for path in project.directories()]
    return {record["run"]["repetition"]: (record["outcome"], record["reason"]) for record in records}


def _calls(project: Project) -> int:
    """Return how many calls were answered."""
    lines = [line for path in project.directories() for line in (path / "llm/calls.jsonl").read_text().splitlines()]
    return sum(json.loads(line)["status"] == 200 for line in lines)


def test_run_over_its_budget_is_exceeded(talk: Project) -> None:
    """The call beyond the budget is refused, the run ends as exceeded and says which budget it was."""
    _limit(talk, "{run: {calls: 2}}")
    result = talk.run("go")
    assert result.returncode == 1, result.stdout + result.stderr
    reason = "step chat: budgets.run.calls is 2 and 2 are used"
    assert _outcomes(talk) == {1: ("exceeded", reason)}
    assert reason in result.stdout
    assert _calls(talk) == 2
    assert left_in_engine(talk) == []


def test_resumed_experiment_keeps_to_its_budget(talk: Project) -> None:
    """What runs used that were done before counts: the second repetition has one call left of four."""
    _limit(talk, "{experiment: {calls: 4}}")
    first = talk.run("go")
    assert first.returncode == 0, first.stdout + first.stderr
    second = talk.run("go", "--repetitions", "2")
    assert second.returncode == 1, second.stdout + second.stderr
    outcomes = _outcomes(talk)
    assert outcomes[1] == ("passed", "")
    assert outcomes[2] == ("exceeded", "step chat: budgets.experiment.calls is 4 and 4 are used")
    assert _calls(talk) == 4


def test_a_larger_budget_lets_the_experiment_go_on(talk: Project) -> None:
    """What the experiment's budget stopped is done once it is larger; what it used before it was stopped still counts."""
    _limit(talk, "{experiment: {calls: 4}}")
    assert talk.run("go", "--repetitions", "2", "--jobs", "1").returncode == 1
    path = talk.root / "config" / "experiments" / "default.yaml"
    path.write_text(path.read_text().replace("calls: 4", "calls: 7"))
    result = talk.run("go", "--repetitions", "2", "--jobs", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the experiment's budget was used up last time" in result.stdout
    assert {outcome for outcome, _ in _outcomes(talk).values()} == {"passed"}
    path.write_text(path.read_text().replace("calls: 7", "calls: 8"))
    assert talk.run("go", "--repetitions", "3").returncode == 1, "of 8 calls 7 are used, one of them in a run put aside"
