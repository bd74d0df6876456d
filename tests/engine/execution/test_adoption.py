"""Steps that still run when their runner is killed, on a real engine: in views beside each other, and asking the model."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gates import held, open_gates
from support.project import Project, cgroups_of, copy_project, left_in_engine
from support.waiting import until

pytestmark = pytest.mark.engine

_INTO_IT = 0.5
"""Seconds that pass before the runner is killed, so that steps are in the middle of something."""
ADOPTED = "its container still runs, and is waited for"
VIEWS = """
name: views
steps:
  - id: begin
    prompt: line notes.txt
  - id: left
    parallel_group: sides
    prompt: |
      hold
      line left.txt
  - id: right
    parallel_group: sides
    prompt: |
      hold
      line right.txt
  - id: judge
    prompt: |
      need left.txt right.txt
      line notes.txt
"""
TALK = """
name: chat
steps:
  - id: first
    prompt: |
      ask 1
      hold
      ask 2
      line notes.txt
  - id: second
    prompt: |
      ask 1
      line notes.txt
"""
_UNASKED = "[{content: Nobody asks.}]"
NOBODY_ASKS = f"version: 1\nsteps: {{begin: {_UNASKED}, left: {_UNASKED}, right: {_UNASKED}, judge: {_UNASKED}}}\n"
ANSWERS = """
version: 1
steps:
  first: [{content: one}, {content: two}, {content: three}]
  second: [{content: four}]
"""
EXPERIMENT = """
name: adopted
frameworks: [actor]
scenarios: [%s]
model: {provider: scripted}
jobs: 4
limits: {step_timeout: 250s, grace: 1s, memory: 64MiB, cpus: 0.25}
"""


@pytest.fixture
def actor(tmp_path: Path) -> Project:
    """Return a project whose framework naps and asks as it is told."""
    project = copy_project("chaos", tmp_path / "actor")
    for name, text, answers in (("views", VIEWS, NOBODY_ASKS), ("chat", TALK, ANSWERS)):
        (project.root / f"config/scenarios/{name}.yaml").write_text(text)
        (project.root / f"config/experiments/adopted-{name}.yaml").write_text(EXPERIMENT % name)
        (project.root / f"images/actor/answers/{name}.yaml").write_text(answers)
    return project


def _kill_and_go(
    project: Project, experiment: str, ready: Callable[[], object], containers: int = 1
) -> tuple[str, dict[str, Any], float]:
    """Kill the runner when something is so, and have the next one bring the run to its end.

    Args:
        project: where.
        experiment: what to run.
        ready: tells that the runner may be killed.
        containers: how many the next one finds running; they end once it has said of each that it waits for it.

    Returns:
        What the next one said, the run's record, and seconds that the containers ran for at least.
    """
    project.run("images", "build", "actor")
    running = project.start("go", experiment)
    until(ready, "it did not come about", 120)
    begun = time.monotonic()
    time.sleep(_INTO_IT)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    said, ran = "", 0.0
    with project.start("go", experiment) as again:
        assert again.stdout is not None
        for line in again.stdout:
            said += line
            if not ran and said.count(ADOPTED) == containers:
                ran = time.monotonic() - begun
                open_gates(project.runs)
    assert again.returncode == 0, said
    (record,) = project.records().values()
    assert record["outcome"] == "passed"
    assert [len(step["attempts"]) for step in record["steps"]] == [1] * len(record["steps"])
    assert not (project.runs / ".superseded").exists()
    assert left_in_engine(project) == []
    assert cgroups_of(project) == set()
    return said, record, ran


def test_views_of_a_graph_are_taken_up(actor: Project) -> None:
    """Two steps beside each other go on in their own views, and what both have done is merged as if nothing had been."""
    names: list[str] = []

    def both_run() -> bool:
        names[:] = [name for name in left_in_engine(actor) if "-s02-" in name or "-s03-" in name]
        return len(names) == len(held(actor.runs)) == 2

    said, record, ran = _kill_and_go(actor, "adopted-views", both_run, 2)
    assert said.count(ADOPTED) == 2
    attempts = [step["attempts"][0] for step in record["steps"]]
    assert sorted(names) == sorted(one["container"] for one in attempts[1:3])
    assert all(_INTO_IT < ran < one["seconds"] < 250 for one in attempts[1:3])
    (folder,) = actor.directories()
    files = {path.name: path.read_text() for path in (folder / "generated_artifacts").iterdir()}
    assert files == {"notes.txt": "one more line\n" * 2, "left.txt": "one more line\n", "right.txt": "one more line\n"}


def test_a_step_goes_on_asking_the_scripted_model(actor: Project) -> None:
    """The gateway outlives its runner: the step hears the next answers in order, and each call is recorded once."""
    heard = "actor/*/llm/calls.jsonl"

    def has_asked() -> bool:
        return bool(held(actor.runs)) and any(path.read_text() for path in actor.runs.glob(heard))

    said, _, _ = _kill_and_go(actor, "adopted-chat", has_asked)
    assert said.count(ADOPTED) == 1
    (folder,) = actor.directories()
    calls = [json.loads(line) for line in (folder / "llm/calls.jsonl").read_text().splitlines()]
    assert [(one["step"], one["attempt"], one["n"]) for one in calls] == [
        ("first", 1, 1),
        ("first", 1, 2),
        ("first", 1, 3),
        ("second", 1, 1),
    ]
    output = (folder / "steps/step_001/stdout.log").read_text()
    assert [line for line in output.splitlines() if "heard" in line] == ["heard: one", "heard: two", "heard: three"]
    assert json.loads((folder / "metrics.json").read_text())["api_calls"] == 4
