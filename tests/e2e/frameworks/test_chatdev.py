"""ChatDev in its image: the school's application in six steps, its phases, and modules that a product lacks."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, Project
from support.school import judge, judged_at_the_end, judgements

from runner.engine.docker import connect
from runner.engine.protocol import Engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(1500)]

WORK_SECONDS = 1200
FIRST = ["DemandAnalysis", "LanguageChoose", "Coding", "CodeCompleteAll", "CodeReview", "Test"]
DOCUMENTS = ["EnvironmentDoc", "Manual"]
EXPERIMENT = "name: chatdev\nframeworks: [chatdev]\nscenarios: [{scenario}]\nmodel: {{provider: scripted}}\n"
FINISHED = """\
    - {expect: propose one comment, content: <INFO> Finished}
    - {expect: according to the comments, content: <INFO> Finished}
"""
REPAIRED = "    - {expect: Error Summary of Test Reports, content: <INFO> Finished}\n"
ANSWERS = """\
    - {{expect: product modality, content: <INFO> Application}}
    - {{expect: target programming language, content: <INFO> Python}}
    - expect: Ensure to implement all functions
      content: |
        main.py
        ```python
        import greetings
        greetings.greet()
        ```
{review}{repair}\
    - {{expect: requirements.txt file, content: None but one.}}
    - {{expect: conversation between two roles, content: greetings}}
    - {{expect: manual.md file, content: Start main.py.}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of this project's configuration and recipes; skips where ChatDev's source is not to be had."""
    for folder in ("config", "images"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    project = Project(tmp_path)
    built = project.run("images", "build", "chatdev", timeout=WORK_SECONDS)
    if unreachable := [line for line in built.stderr.splitlines() if "cannot be reached" in line]:
        pytest.skip(f"chatdev cannot be built here: {unreachable[0]}")
    assert built.returncode == 0, built.stdout + built.stderr
    return project


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine that the runs used."""
    with connect(os.environ) as connected:
        yield connected


def _go(project: Project, scenario: str, more: str = "") -> tuple[Path, dict[str, Any]]:
    """Carry out one run; return its directory and record."""
    file = project.root / "config/experiments/chatdev.yaml"
    file.write_text(EXPERIMENT.format(scenario=scenario) + more)
    result = project.run("go", str(file), timeout=WORK_SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    (directory,) = project.directories()
    record: dict[str, Any] = json.loads((directory / "metadata.json").read_text())
    assert record["outcome"] == "passed", record["reason"]
    return directory, record


def test_school_application_does_what_its_prompts_ask(project: Project, engine: Engine) -> None:
    """Six versions of one product, each on the one before; the last answers every route as the prompts say.

    No folder is left in the workspace, and no version has an older one in it: the code does not nest. Every phase that
    talks to the model has its calls and tokens.
    """
    judged_at_the_end(project.root)
    directory, record = _go(project, "crud")
    assert judgements(directory) == [("api", "course-teacher", "passed")]
    product = directory / "generated_artifacts"
    code, text = judge(engine, record["run"]["image"]["id"], product)
    assert code == 0, text
    assert [path for path in product.iterdir() if path.is_dir()] == []
    assert not (product / "app.db").exists()
    house = directory / "state" / "writable" / "00-WareHouse"
    assert len(list(house.iterdir())) == 6
    assert list(house.glob("*/base/base")) == []
    for number, step in enumerate(record["steps"], start=1):
        expected = [*(FIRST if number == 1 else [name for name in FIRST if name != "Coding"]), *DOCUMENTS]
        assert [phase["name"] for phase in step["phases"]] == expected
        metrics = json.loads((directory / "steps" / f"step_{number:03d}" / "metrics.json").read_text())
        calls = {one["phase"]: one["api_calls"] for one in metrics["per_phase"]}
        assert sum(calls.values()) == metrics["api_calls"] == (16 if number == 1 else 11)
        assert calls["CodeReview"] == 6
        assert all(one["tokens_in"] > 0 for one in metrics["per_phase"] if one["api_calls"])


@pytest.mark.parametrize("offered", [True, False])
def test_a_module_that_a_product_lacks(project: Project, *, offered: bool) -> None:
    """It comes from the experiment's packages into the run's state; without them it is named, and the step goes on."""
    _write_wheel(project.root / "wheels")
    (project.root / "config/scenarios/greet.yaml").write_text("name: greet\nsteps: [{id: greet, prompt: Greet.}]\n")
    answers = ANSWERS.format(review=3 * FINISHED, repair=(1 if offered else 3) * REPAIRED)
    (project.root / "images/chatdev/answers/greet.yaml").write_text(f"version: 1\nsteps:\n  greet:\n{answers}")
    directory, record = _go(project, "greet", "packages: {folder: wheels}\n" if offered else "")
    modules = json.loads((directory / "steps/step_001/out/modules.json").read_text())
    asked = {"module": "greetings", "exit_code": 0 if offered else 1}
    assert modules["asked"] == [asked] * (1 if offered else 3)
    assert (modules["index"], modules["installed"]) == (offered, {"greetings": "1.0"} if offered else {})
    assert (directory / "state/packages/greetings.py").exists() == offered
    tried = next(phase for phase in record["steps"][0]["phases"] if phase["name"] == "Test")
    assert tried["detail"] == f"module greetings: {'installed' if offered else 'could not be had'}"
    connections = directory / "llm" / "connections.jsonl"
    assert ("greetings-1.0-py3-none-any.whl" in (connections.read_text() if connections.exists() else "")) == offered


def _write_wheel(folder: Path) -> None:
    """Make a distribution of one module."""
    about = "greetings-1.0.dist-info"
    files = {
        "greetings.py": "def greet():\n    print('hello')\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*rows, f"{about}/RECORD,,", ""])
    folder.mkdir()
    with zipfile.ZipFile(folder / "greetings-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
