"""Loading a scenario that is more than a list: its texts, its workflows, its images, and where all of it comes from."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from runner.errors import ConfigError
from runner.plan.check import check_graphs
from runner.spec.load import load_all, load_scenario
from runner.spec.loaded import explain
from runner.spec.overrides import Overrides
from runner.spec.project import Project

GRAPH = """\
name: build
steps:
  - id: list
    script_file: build/list.sh
    stdin: build/words.txt
    image: base
    outputs:
      names: {stdout: true, type: list}
  - id: each
    workflow: tested
    inputs:
      names: {step: list, output: names}
  - id: judge
    check: {script_file: build/judge.sh}
"""
TESTED = """\
name: tested
inputs:
  names: {type: list}
steps:
  - id: write
    prompt_file: tested/write.md
    for_each: {input: names}
  - id: test
    command: [pytest, -q]
    image: beta
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dedent(text).encode())


@pytest.fixture
def graph(project: Project) -> Project:
    """Return a project whose scenario uses a workflow, scripts and images."""
    _write(project.scenarios / "build.yaml", GRAPH)
    _write(project.scenarios / "build" / "list.sh", "#!/bin/sh\r\ncat\r\n")
    _write(project.scenarios / "build" / "words.txt", "one\r\ntwo\r\n")
    _write(project.scenarios / "build" / "judge.sh", "test -e x\n")
    _write(project.workflows / "tested.yaml", TESTED)
    _write(project.workflows / "tested" / "write.md", "Write {{ item }}.\n")
    return project


def test_every_text_is_read_in(graph: Project) -> None:
    """Scripts have plain line ends like prompts; standard input is what it is, byte by byte."""
    first, _, judge = load_scenario(graph, "build").value.steps
    assert (first.script, first.script_file, first.stdin) == ("#!/bin/sh\ncat\n", None, "one\r\ntwo\r\n")
    assert judge.check is not None
    assert (judge.check.script, judge.check.script_file) == ("test -e x\n", None)


def test_a_whole_experiment_knows_workflows_and_images(graph: Project) -> None:
    """Everything that is needed to carry it out is there by name, the frameworks first."""
    inputs = load_all(graph, None, Overrides(frameworks=("alpha",)), {})
    check_graphs(inputs)
    assert list(inputs.workflows) == ["tested"]
    assert inputs.workflows["tested"].value.steps[0].prompt == "Write {{ item }}.\n"
    assert inputs.recipes == ("alpha", "base", "beta")


def test_an_image_is_missed_only_by_who_uses_it(graph: Project) -> None:
    """An experiment can go on while one framework, and all images of the steps of one scenario, are there."""
    inputs = load_all(graph, None, Overrides(), {})
    assert inputs.usable_with({"beta"})
    assert not inputs.usable_with({"base"})
    only = load_all(graph, None, Overrides(scenarios=("build",)), {})
    assert not only.usable_with({"beta"})
    assert only.usable_with({"beta", "base"})


def test_each_value_has_its_source(graph: Project) -> None:
    """A text's source is its own file; what a step does not say is not listed, what it has by default is."""
    inputs = load_all(graph, None, Overrides(frameworks=("alpha",)), {})
    rows = {row.key: row.source for row in explain(inputs.scenarios["build"])}
    assert rows["steps.list.script"] == "config/scenarios/build/list.sh"
    assert rows["steps.list.script_file"] == "read into steps.list.script"
    assert rows["steps.list.stdin"] == "config/scenarios/build/words.txt"
    assert rows["steps.judge.check.script"] == "config/scenarios/build/judge.sh"
    assert rows["steps.each.inputs"] == "config/scenarios/build.yaml:11"
    assert rows["steps.judge.enabled"] == "default"
    assert not {"steps.judge.retry", "steps.judge.inputs", "steps.judge.prompt"} & rows.keys()
    rows = {row.key: row.source for row in explain(inputs.workflows["tested"])}
    assert rows["steps.write.prompt"] == "config/workflows/tested/write.md"


def test_what_is_wrong_in_a_workflow_is_told_once(graph: Project) -> None:
    """A workflow that two steps use has its complaints once, with its own file and line."""
    (graph.workflows / "tested.yaml").write_text(TESTED.replace("item", "items").replace("[pytest, -q]", "[]"))
    _write(graph.scenarios / "greet.yaml", "name: greet\nsteps:\n  - id: w\n    workflow: tested\n")
    with pytest.raises(ConfigError) as caught:
        load_all(graph, None, Overrides(), {})
    assert str(caught.value) == (
        "config/workflows/tested.yaml:9: steps.2.command: it is empty; at least one is needed\n"
        "write command: [...]; a program and its arguments, run instead of the framework's command"
    )


def test_a_disabled_call_needs_no_workflow(graph: Project) -> None:
    """What takes no part may name what is not there yet."""
    _write(
        graph.scenarios / "greet.yaml",
        """\
        name: greet
        steps:
          - id: later
            workflow: none-yet
            enabled: false
          - id: now
            prompt: Greet.
        """,
    )
    assert [step.id for step in load_scenario(graph, "greet").value.steps if step.enabled] == ["now"]
