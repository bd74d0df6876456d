"""What is generated from the models: schemas, the reference, new experiments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.spec.load import load_all, load_experiment
from runner.spec.models import Experiment, Framework
from runner.spec.overrides import VARIABLES, Overrides
from runner.spec.project import Project
from runner.spec.recipes import PLACEHOLDERS
from runner.spec.reference import configuration_reference
from runner.spec.scenario import Scenario
from runner.spec.schema import schema_texts
from runner.spec.template import experiment_text

ROOT = Project(Path(__file__).parents[3])


@pytest.mark.parametrize("name", sorted(schema_texts()))
def test_committed_schema_is_fresh(name: str) -> None:
    """The schema an editor sees is the one that the models give."""
    assert (ROOT.schemas / name).read_text(encoding="utf-8") == schema_texts()[name]


def test_schema_takes_sizes_with_units_and_bounds_numbers() -> None:
    """A size may be a number within its bounds or text with a unit; every key has its sentence."""
    schema = json.loads(schema_texts()["experiment.schema.json"])
    memory = schema["$defs"]["Limits"]["properties"]["memory"]
    assert [kind["type"] for kind in memory["anyOf"]] == ["integer", "string"]
    assert (memory["minimum"], memory["maximum"]) == (16 * 1024**2, 1024**5)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["jobs"]["maximum"] == 4096
    assert all("description" in one for one in schema["properties"].values())
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("model", [Experiment, Scenario, Framework])
def test_reference_has_every_key(model: type[Experiment | Scenario | Framework]) -> None:
    """Each key stands in the reference with its default; so do environment variables and placeholders."""
    text = configuration_reference()
    assert all(f"| `{name}` |" in text for name in model.model_fields)
    assert all(f"| `{name}` |" in text for name in VARIABLES)
    assert all(f"| `{{{name}}}` |" in text for name in PLACEHOLDERS)
    assert "| `step_timeout` | duration | `10m` |" in text
    assert "| `memory` | size | `2GiB` |" in text


@pytest.mark.parametrize("description", ["", "yes: #1 'odd' \"text\" [", "true"])
def test_new_experiment_is_valid_as_it_is(project: Project, description: str) -> None:
    """A new experiment loads without change, with what was asked for, whatever its description holds."""
    text = experiment_text("mine", ["alpha", "beta"], ["greet"], repetitions=3, description=description)
    (project.experiments / "mine.yaml").write_text(text, encoding="utf-8")
    value = load_all(project, "mine", Overrides(), {}).experiment.value
    assert (value.name, value.frameworks, value.scenarios, value.repetitions) == (
        "mine",
        ("alpha", "beta"),
        ("greet",),
        3,
    )
    assert value.description == (description or "Compares alpha, beta on greet.")


def test_new_experiment_can_have_its_comments_removed(project: Project) -> None:
    """Each commented key is valid once the mark before it is removed, and says the built-in default."""
    text = experiment_text("mine", ["alpha"], ["greet"])
    keys = (
        "seed:",
        "run_timeout:",
        "cpus:",
        "memory:",
        "exclude:",
        "  - framework:",
        "    scenario:",
        "    repetition:",
    )
    lines = [line.replace("# ", "", 1) if line.strip("# ").startswith(tuple(k.strip() for k in keys)) else line
             for line in text.splitlines()]  # fmt: skip
    (project.experiments / "mine.yaml").write_text("\n".join(lines), encoding="utf-8")
    value = load_experiment(project, "mine", Overrides(), {}).value
    assert value.limits == Experiment(name="x", frameworks=("a",), scenarios=("b",)).limits
    assert value.exclude[0].repetition == 1


def test_default_experiment_compares_two_frameworks_without_a_key() -> None:
    """The default experiment is two frameworks, two scenarios, two repetitions and the scripted model."""
    inputs = load_all(ROOT, None, Overrides(), {})
    value = inputs.experiment.value
    assert len(inputs.answers) == 4
    assert inputs.notes == ()
    assert value.frameworks == ("mini-swe-agent", "ghspec")
    assert (value.scenarios, value.repetitions) == (("crud", "hello"), 2)
    assert value.model is not None
    assert value.model.provider == "scripted"


@pytest.mark.parametrize("file", sorted(ROOT.experiments.glob("*.yaml")), ids=lambda file: file.name)
def test_experiments_name_their_schema(file: Path) -> None:
    """An editor finds the schema from the first line of each experiment."""
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../schema/experiment.schema.json"
