"""Spec Kit's questions in a run: answered from the scenario, hashed in the record, with tokens and time of their own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, Project

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(900)]

ASSUMED = "- A name may have any characters."
MARKED = "- [NEEDS CLARIFICATION: which characters may a name have?]"
NEXT_PHASE = "    - expect: Execute plan workflow\n"
CLARIFIED = """\
    - expect: "Q: which characters may a name have\\\\?\\\\nA: Any but control characters\\\\."
      content: The answer takes the place of the marker.
      tool_calls:
        - name: bash
          arguments:
            command: |
              sed -i 's/^- .NEEDS CLARIFICATION.*/- Any but control characters./' specs/001-greeting/spec.md
    - expect: '"returncode": 0'
      content: No question is open.
      tool_calls:
        - name: bash
          arguments:
            command: echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT
"""
ANSWERS = """
answers:
  - question: (?i)which characters
    answer: Any but control characters.
"""
EXPERIMENT = "name: one\nframeworks: [ghspec]\nscenarios: [hello]\nmodel: {provider: scripted}\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """This project's recipes, with a scenario that answers one question, and a script that asks it."""
    for folder in ("config", "images"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    _edit(tmp_path / "images/ghspec/answers/hello.yaml", (ASSUMED, MARKED), (NEXT_PHASE, CLARIFIED + NEXT_PHASE))
    _edit(tmp_path / "config/scenarios/hello.yaml", ("\nsteps:\n", f"{ANSWERS}\nsteps:\n"))
    (tmp_path / "config/experiments/one.yaml").write_text(EXPERIMENT)
    return Project(tmp_path)


def _edit(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)


def test_a_question_of_the_specification_is_answered_from_the_scenario(project: Project) -> None:
    """The marker is asked about once, the answer's digest is in the record, and the phase has its own calls."""
    result = project.run("go", "one", timeout=800)
    assert result.returncode == 0, result.stdout + result.stderr
    (directory,) = project.directories()
    step: dict[str, Any] = json.loads((directory / "metadata.json").read_text())["steps"][0]
    names = [phase["name"] for phase in step["phases"]]
    assert names == ["init", "specify", "clarify", "plan", "tasks", "implement", "fix"]
    digest = hashlib.sha256(b"Any but control characters.").hexdigest()
    assert step["answers"] == [{"question": "which characters may a name have?", "answer_sha256": digest}]
    metrics = json.loads((directory / "steps" / "step_001" / "metrics.json").read_text())
    phases = {phase["phase"]: phase for phase in metrics["per_phase"]}
    assert [phases[name]["api_calls"] for name in names] == [0, 3, 2, 3, 3, 6, 0]
    assert all(phases[name]["tokens_in"] > 0 and phases[name]["wall_seconds"] > 0 for name in names[1:-1])
    specification = (directory / "generated_artifacts" / "specs" / "001-greeting" / "spec.md").read_text()
    assert "- Any but control characters." in specification
    assert "NEEDS CLARIFICATION" not in specification
