"""Graphs of steps on containers, driven through the command line; all scenarios are carried out in one go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.project import Project, copy_project, left_in_engine

PASSED, FAILED, WAITING = 0, 1, 8


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose framework obeys its prompt, all of whose scenarios have been carried out once."""
    project = copy_project("graph", tmp_path_factory.mktemp("graph") / "graph")
    done = project.run("go")
    assert done.returncode == WAITING, done.stdout + done.stderr
    return project


def record_of(project: Project, scenario: str) -> Mapping[str, Any]:
    """Return the record of a scenario's run."""
    return project.records()[scenario]


def directory_of(project: Project, scenario: str) -> Path:
    """Return the directory of a scenario's run."""
    return next(path for path in project.directories() if path.name.startswith(f"{scenario}-"))


def outcomes(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the outcome of each step."""
    return {step["id"]: step["outcome"] for step in record["steps"]}


def files(project: Project, scenario: str) -> set[str]:
    """Return the files of a run's final workspace."""
    return {path.name for path in (directory_of(project, scenario) / "generated_artifacts").iterdir()}


def test_branches_see_only_their_ancestors_and_are_merged(graph: Project) -> None:
    """Steps beside each other work on views of their own; additions, removals and equal changes meet at the join."""
    record = record_of(graph, "branches")
    assert record["outcome"] == "passed", record["reason"]
    assert files(graph, "branches") == {"common.txt", "left.txt", "right.txt", "same.txt"}


def test_a_conflict_fails_the_join_and_keeps_both_sides(graph: Project) -> None:
    """The same path changed differently fails the step that needs both, names both, and overwrites nothing."""
    record = record_of(graph, "conflict")
    assert outcomes(record) == {"left": "passed", "right": "passed", "join": "failed"}
    assert "app.txt (left: 5 bytes, mode 0644; right: 6 bytes, mode 0644)" in record["reason"]
    kept = directory_of(graph, "conflict") / "steps" / "step_003" / "conflicts"
    assert (kept / "left" / "app.txt").read_text() == "left\n"
    assert (kept / "right" / "app.txt").read_text() == "right\n"


def test_ways_to_see_the_workspace(graph: Project) -> None:
    """Shared steps see each other's files while they run; read-only cannot be written, none is empty."""
    record = record_of(graph, "modes")
    assert record["outcome"] == "passed", record["reason"]
    assert files(graph, "modes") == {"begun.txt", "one.txt", "two.txt"}


def test_values_lists_questions_and_retries(graph: Project) -> None:
    """Values pass from step to step; lists are walked, branches chosen, answers given, failures tolerated."""
    record = record_of(graph, "values")
    assert record["outcome"] == "passed", record["reason"]
    by_id = {step["id"]: step for step in record["steps"]}
    assert [one["outcome"] for one in by_id["flaky"]["attempts"]] == ["failed", "passed"]
    assert outcomes(record)["blame"] == "skipped"
    assert outcomes(record)["each.3"] == "skipped"
    assert (by_id["tolerated"]["outcome"], by_id["tolerated"]["counts"]) == ("failed", False)
    assert any("tolerated" in note for note in record["notes"])


def test_a_failure_stops_only_what_depends_on_it(graph: Project) -> None:
    """A branch beside a failed step goes on to its end; what needs the failed one is skipped and says so."""
    record = record_of(graph, "failing")
    assert outcomes(record) == {"bad": "failed", "good": "passed", "after-bad": "skipped", "after-good": "passed"}
    assert "bad did not pass" in next(step["reason"] for step in record["steps"] if step["id"] == "after-bad")


def test_an_unanswered_approval_takes_its_default(graph: Project) -> None:
    """When the time is over the default is taken, and the run goes on."""
    record = record_of(graph, "waits")
    assert outcomes(record) == {"begin": "passed", "consent": "passed", "end": "passed"}


def test_people_approve_and_reject(graph: Project) -> None:
    """A suspended run leaves nothing in the engine; an approved one goes on, a rejected one fails with the message."""
    assert left_in_engine(graph) == []
    for command, scenario, message in (("approve", "asks", "fine"), ("reject", "refuses", "not like this")):
        assert record_of(graph, scenario)["outcome"] is None
        answered = graph.run(command, directory_of(graph, scenario).name, "--message", message)
        assert answered.returncode == PASSED, answered.stderr
    done = graph.run("go", "--json")
    assert done.returncode == FAILED, done.stdout + done.stderr
    assert outcomes(record_of(graph, "asks"))["end"] == "passed"
    refused = record_of(graph, "refuses")
    assert (refused["outcome"], outcomes(refused)["end"]) == ("failed", "skipped")
    assert "not like this" in refused["reason"]
    told = {run["scenario"]: run["outcome"] for run in json.loads(done.stdout)["runs"]}
    assert (told["asks"], told["refuses"]) == ("passed", "failed")
