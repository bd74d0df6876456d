"""`runner plan` of a scenario that is no list."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runner.cli.main import main

GRAPH = """\
name: hello
steps:
  - id: begin
    prompt: Begin.
  - id: left
    parallel_group: sides
    prompt: Write the left side.
  - id: right
    parallel_group: sides
    command: [touch, right]
    image: base
  - id: judge
    check: {script: test -e right}
"""


def run(folder: Path, *argv: str) -> tuple[int, str, str]:
    """Run a command line in a project and return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = main(["-C", str(folder), *argv], environment={"RUNNER_CACHE": str(folder / "cache")}, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def graph(project: Path) -> Path:
    """Return a project whose scenario is a graph."""
    (project / "config" / "scenarios" / "hello.yaml").write_text(GRAPH, encoding="utf-8")
    return project


def test_a_graph_is_shown_below_the_runs(graph: Path) -> None:
    """Each step stands there once with what it comes after, however many runs there are."""
    code, out, err = run(graph, "plan")
    assert code == 0
    assert out.split("steps of hello\n")[1].splitlines()[2:] == [
        "1  begin  prompt   –",  # noqa: RUF001  # the dash that tables have for nothing
        "2  left   prompt   begin",
        "3  right  command  begin",
        "4  judge  check    left, right",
    ]
    # Two frameworks and a step need it.
    assert err.count("there is no recipe base") == 1


def test_a_list_is_not_shown_as_a_graph(project: Path) -> None:
    """Who has a plain list sees what they always saw."""
    assert "steps of" not in run(project, "plan")[1]


def test_json_has_the_graph_of_every_run(graph: Path) -> None:
    """A program gets the edges."""
    (first, *_) = json.loads(run(graph, "plan", "--json")[1])["runs"]
    assert first["after"] == {"begin": [], "left": ["begin"], "right": ["begin"], "judge": ["left", "right"]}


def test_what_only_the_whole_graph_can_tell_is_refused_before_the_start(graph: Path) -> None:
    """Steps beside each other cannot be shared and apart at once; the message has file and line, the exit code is 2."""
    file = graph / "config" / "scenarios" / "hello.yaml"
    file.write_text(GRAPH.replace("image: base", "workspace: shared"), encoding="utf-8")
    code, _, err = run(graph, "plan")
    assert code == 2
    assert "config/scenarios/hello.yaml:11: workspace: `right` would change the shared workspace while `left`" in err


def test_workflows_are_explained_too(graph: Path) -> None:
    """`--explain` has a table for each workflow that is used, with the sources of its values."""
    (graph / "config" / "workflows").mkdir()
    (graph / "config" / "workflows" / "part.yaml").write_text("name: part\nsteps:\n  - id: x\n    prompt: Do x.\n")
    file = graph / "config" / "scenarios" / "hello.yaml"
    file.write_text(f"{GRAPH}  - id: more\n    workflow: part\n", encoding="utf-8")
    out = run(graph, "plan", "--explain")[1]
    assert "workflow part" in out
    assert "config/workflows/part.yaml:4" in out
