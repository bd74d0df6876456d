"""Which steps have a way out, and what they need for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.planning import make_experiment, make_framework, make_scenario

from runner.spec.egress import Packages
from runner.spec.load import hash_packages
from runner.spec.models import Cell, Framework
from runner.spec.scenario import Approval, ModelCall, Program, Step, Workflow
from runner.spec.ways import images_of, is_connected, needs_model, performed_steps, wants_gateway


def _step(**changes: Any) -> Step:
    return Step(id="one", prompt="Do.", **changes)


@pytest.mark.parametrize(
    ("framework", "step", "needed"),
    [
        ({"network": "gateway"}, {}, True),
        ({"network": "gateway", "allow": ("example.org",)}, {}, False),
        ({"network": "gateway"}, {"allow": ("example.org",)}, False),
        ({"network": "gateway"}, {"network": "none"}, False),
        ({"network": "none"}, {"network": "gateway"}, True),
        ({"network": "none"}, {}, False),
        ({"network": "open"}, {}, False),
    ],
)
def test_a_gateway_that_leads_nowhere_needs_a_model(
    framework: dict[str, Any], step: dict[str, Any], *, needed: bool
) -> None:
    """A step needs a model if its gateway would lead to nothing else; an open one and an allow-list do without."""
    assert needs_model(make_framework(**framework), _step(**step)) is needed


def test_disabled_steps_connect_nothing() -> None:
    """A step that takes no part gives its run no way out."""
    closed: Framework = make_framework(network="none")
    steps = (_step(), _step(network="open", enabled=False))
    assert not is_connected(closed, make_scenario(steps=steps))
    assert is_connected(closed, make_scenario(steps=(_step(network="open"),)))


@pytest.mark.parametrize(
    ("step", "needed", "connected"),
    [
        ({"model": ModelCall(prompt="Say.")}, True, True),
        ({"approval": Approval(message="Go on?")}, False, False),
        ({"check": Program(command=("ls",))}, False, False),
        ({"check": Program(command=("ls",)), "network": "gateway"}, True, True),
        ({"command": ("ls",)}, False, True),
        ({"command": ("ls",), "network": "gateway"}, True, True),
        ({"command": ("ls",), "network": "gateway", "allow": ("example.org",)}, False, True),
    ],
)
def test_kinds_of_step_differ_in_their_way_out(step: dict[str, Any], *, needed: bool, connected: bool) -> None:
    """A model is needed by who calls one, and by programs that ask for the gateway and name no host."""
    framework, one = make_framework(network="gateway"), Step(id="one", **step)
    assert needs_model(framework, one) is needed
    assert is_connected(framework, make_scenario(steps=(one,))) is connected


def test_steps_of_workflows_count() -> None:
    """What a workflow's steps need is needed, at any depth, by their image too."""
    inner = Workflow(name="inner", steps=(Step(id="x", model=ModelCall(prompt="Say.")),))
    image = Step(id="z", command=("ls",), image="base")
    outer = Workflow(name="outer", steps=(Step(id="y", workflow="inner"), image))
    scenario, workflows = make_scenario(steps=(Step(id="w", workflow="outer"),)), {"inner": inner, "outer": outer}
    closed: Framework = make_framework("alpha", network="none")
    found = [(one.workflow, one.number, one.step.id) for one in performed_steps(scenario, workflows)]
    assert found == [("inner", 0, "x"), ("outer", 1, "z")]
    assert is_connected(closed, scenario, workflows)
    assert images_of(scenario, workflows) == {"base"}
    experiment = make_experiment(frameworks=("alpha",), scenarios=("build",))
    assert wants_gateway(experiment, {"alpha": closed}, {"build": scenario}, workflows)


@pytest.mark.parametrize(
    ("experiment", "framework", "wanted"),
    [
        ({}, {"network": "gateway"}, True),
        ({}, {"network": "open"}, True),
        ({}, {"network": "none"}, False),
        ({"model": None}, {"network": "open"}, False),
        ({"model": None}, {"network": "gateway", "allow": ("example.org",)}, True),
        ({"model": None, "packages": Packages(folder="wheels")}, {"network": "open"}, True),
        ({"exclude": (Cell(framework="alpha"),)}, {"network": "gateway"}, False),
    ],
)
def test_gateway_is_started_for_those_who_use_it(
    experiment: dict[str, Any], framework: dict[str, Any], *, wanted: bool
) -> None:
    """The gateway is wanted by any selected step that has a way out through it."""
    found = wants_gateway(
        make_experiment(frameworks=("alpha",), scenarios=("build",), **experiment),
        {"alpha": make_framework("alpha", **framework)},
        {"build": make_scenario("build")},
    )
    assert found is wanted


def test_contents_of_a_folder_of_packages_count(tmp_path: Path) -> None:
    """The digest of a folder of packages changes with any file's name or bytes, and with nothing else."""
    (tmp_path / "a-1.0.tar.gz").write_bytes(b"1")
    first = hash_packages(tmp_path)
    (tmp_path / "a-1.0.tar.gz").touch()
    assert hash_packages(tmp_path) == first
    (tmp_path / "a-1.0.tar.gz").write_bytes(b"2")
    second = hash_packages(tmp_path)
    (tmp_path / "a-1.0.tar.gz").rename(tmp_path / "a-1.1.tar.gz")
    assert len({first, second, hash_packages(tmp_path)}) == 3
