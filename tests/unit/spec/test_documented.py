"""The examples of the pages on scenarios and workflows can be loaded as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from runner.plan.check import check_graphs
from runner.spec.load import load_all
from runner.spec.overrides import Overrides
from runner.spec.project import Project
from runner.spec.yaml import dump, load_yaml

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "how-to"


def _blocks(page: str) -> list[str]:
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _read(text: str, tmp_path: Path) -> Any:
    file = tmp_path / "block.yaml"
    file.write_text(text, encoding="utf-8")
    return load_yaml(file).value


SCENARIO_BLOCKS = [block for block in _blocks("write-a-scenario.md") if not block.startswith(" ")]
WORKFLOW_BLOCKS = _blocks("write-a-workflow.md")


def _load(project: Project, name: str, document: object) -> list[str]:
    """Load a scenario in place of the project's own, and return the ids of its steps."""
    (project.scenarios / f"{name}.yaml").write_text(dump(document), encoding="utf-8")
    (project.experiments / "example.yaml").write_text(
        f"name: example\nframeworks: [alpha]\nscenarios: [{name}]\nmodel: {{provider: openai, name: m}}\n",
        encoding="utf-8",
    )
    inputs = load_all(project, "example", Overrides(), {})
    check_graphs(inputs)
    return [step.id for step in inputs.scenarios[name].value.steps]


@pytest.mark.parametrize("block", SCENARIO_BLOCKS, ids=lambda block: block.splitlines()[0])
def test_examples_of_steps_are_fine(block: str, project: Project, tmp_path: Path) -> None:
    """Each example on writing a scenario is a scenario, or steps of one, with nothing to complain of."""
    (project.scenarios / "greeting").mkdir()
    (project.scenarios / "greeting" / "settings.txt").write_text("quick\n", encoding="utf-8")
    shutil.copytree(ROOT / "config" / "scenarios" / "bug-fix", project.scenarios / "bug-fix")
    value = _read(block, tmp_path)
    document = value if isinstance(value, dict) else {"name": "example", "steps": value}
    assert _load(project, document["name"], document) == [step["id"] for step in document["steps"]]


@pytest.mark.parametrize("block", WORKFLOW_BLOCKS[1:], ids=lambda block: block.splitlines()[0])
def test_examples_of_workflows_are_fine(block: str, project: Project, tmp_path: Path) -> None:
    """The example of a workflow is one, and every scenario on its page can use it."""
    workflow = _read(WORKFLOW_BLOCKS[0], tmp_path)
    project.workflows.mkdir()
    (project.workflows / f"{workflow['name']}.yaml").write_text(dump(workflow), encoding="utf-8")
    document = _read(block, tmp_path)
    assert "workflow" in document["steps"][0]
    assert _load(project, document["name"], document)
