"""Steps of every kind that needs nobody, with values from one to the next, as a user runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.project import Project, left_in_engine

pytestmark = pytest.mark.e2e


def _steps(project: Project) -> dict[str, dict[str, Any]]:
    return {step["id"]: step for step in project.records()["kinds"]["steps"]}


def test_steps_of_all_kinds_work_together(talk: Project) -> None:
    """Scripts, a list known late, a retry, a check, a call of the model and conditions on its answer end as planned."""
    done = talk.run("go", "kinds")
    assert done.returncode == 0, done.stderr
    steps = _steps(talk)
    left_out = {"each.3": "the list has 2 items only", "praise": "its condition does not hold: inputs.grade.good"}
    assert {name: step["reason"] for name, step in steps.items() if step["outcome"] == "skipped"} == left_out
    assert {step["outcome"] for name, step in steps.items() if name not in left_out} == {"passed"}
    (run,) = talk.directories()
    found = {path.name: path.read_text() for path in (run / "generated_artifacts").iterdir()}
    assert found == {
        "colour.txt": "blue\nexit 4\n",
        "typed.txt": "typed text\n",
        "made-ann": "shop",
        "made-bob": "shop",
        "mended.json": '{"good": false}\n',
    }
    assert [one["question"] for one in steps["names"]["answers"]] == ["Which colour", "Which size"]
    assert [one["outcome"] for one in steps["flaky"]["attempts"]] == ["failed", "passed"]
    assert (run / "steps" / "step_006" / "stdout.log").read_text() == "shopshop"
    assert steps["review"]["attempts"][0]["argv"][0] == "model"
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["api_calls"], metrics["steps_passed"], metrics["attempts"]) == (1, 7, 8)
    assert left_in_engine(talk) == []


def test_a_run_with_all_kinds_can_be_replayed(talk: Project) -> None:
    """The model's answer to a step without a container is recorded, and given again."""
    assert talk.run("go", "kinds").returncode == 0
    (run,) = talk.directories()
    done = talk.run("replay", run.name)
    assert done.returncode == 0, done.stderr
    assert "the workspace is the same" in done.stdout
