"""A scenario whose steps use another image than the framework's, with a workflow and values from step to step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.project import Project

pytestmark = pytest.mark.e2e

SCENARIO = """\
name: mixed
steps:
  - id: names
    command: [sh, -c, 'printf "[\\"one\\", \\"two\\"]"']
    image: base
    outputs:
      all: {stdout: true, type: list}
  - id: pages
    workflow: pages
    inputs:
      names: {step: names, output: all}
  - id: extra
    prompt: write
    when: steps['pages.count'].outcome != 'passed'
"""
WORKFLOW = """\
name: pages
inputs:
  names: {type: list}
steps:
  - id: page
    for_each: {input: names, at_most: 3}
    script: |
      #!/usr/bin/env python3
      import json, pathlib
      item = json.loads(pathlib.Path("/in/step.json").read_text())["item"]["value"]
      pathlib.Path(f"/workspace/{item}.txt").write_text(item)
      pathlib.Path("/out/size").write_text(str(len(item)))
    outputs:
      size: {file: size, type: number}
  - id: count
    check: {script: 'test "$(cat /in/inputs/sizes)" = "[3, 3]" && test "$(ls | wc -l)" = 2'}
    inputs:
      sizes: {step: page, output: size}
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def mixed(probe: Project) -> Project:
    """Return the project with an experiment whose one scenario is a graph."""
    _write(probe.root / "config" / "scenarios" / "mixed.yaml", SCENARIO)
    _write(probe.root / "config" / "workflows" / "pages.yaml", WORKFLOW)
    _write(
        probe.root / "config" / "experiments" / "mixed.yaml", "name: mixed\nframeworks: [probe]\nscenarios: [mixed]\n"
    )
    return probe


def test_a_graph_of_two_images_runs(mixed: Project) -> None:
    """Images of steps are prepared with the others, lists known only now are followed, and values reach their steps."""
    done = mixed.run("go", "mixed")
    assert done.returncode == 0, done.stdout + done.stderr
    (directory,) = mixed.directories()
    record = json.loads((directory / "metadata.json").read_text())
    outcomes = {step["id"]: step["outcome"] for step in record["steps"]}
    assert outcomes == {
        "names": "passed",
        "pages.page.1": "passed",
        "pages.page.2": "passed",
        "pages.page.3": "skipped",
        "pages.count": "passed",
        "extra": "skipped",
    }
    images = {step["id"]: {one["image_id"] for one in step["attempts"]} for step in record["steps"]}
    assert images["pages.page.1"] == {record["run"]["image"]["id"]}
    assert images["names"] == {record["run"]["steps"][0]["image"]["id"]}
    assert images["names"] != images["pages.page.1"]
    assert sorted(path.name for path in (directory / "generated_artifacts").iterdir()) == ["one.txt", "two.txt"]


def test_a_second_go_finds_it_done(mixed: Project) -> None:
    """The digest of a graph is the same at every planning, so that nothing is done twice; a list is what it was."""
    assert mixed.run("go", "mixed").returncode == 0
    _write(mixed.root / "config" / "workflows" / "pages.yaml", WORKFLOW.replace("at_most: 3", "at_most: 2"))
    planned = mixed.run("plan", "mixed").stdout
    assert "step pages.page.3 is gone" in planned
    _write(mixed.root / "config" / "workflows" / "pages.yaml", WORKFLOW)
    assert "1 run: 0 to do, 1 done" in mixed.run("plan", "mixed").stdout
