"""What a step's way out means for its container."""

from __future__ import annotations

from typing import Any

import pytest
from support.fake_world import World

from runner.execution.container import container_spec
from runner.execution.run import perform_run
from runner.gateway.session import Session
from runner.plan.models import Run
from runner.spec.model import Model

MODEL_VARIABLES = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "RUNNER_MODEL"}


def _with_network(run: Run, network: str, **changes: Any) -> Run:
    steps = tuple(step.model_copy(update={"network": network}) for step in run.steps)
    return run.model_copy(update={"steps": steps, **changes})


def _session(world: World, **changes: Any) -> Session:
    return Session(id="s", token="run-t", directory=world.output, **changes)


@pytest.mark.parametrize(("network", "attached"), [("none", "none"), ("gateway", "none"), ("open", "bridge")])
def test_only_an_open_step_is_on_a_network(world: World, network: str, attached: str) -> None:
    """A step with a gateway has loopback only; one that is open is on the engine's own network."""
    run = _with_network(world.run, network)
    spec = container_spec(world.context, run, run.steps[0], world.place(run), attempt=1, session=None, deadline=60)
    assert spec.network == attached


def test_open_step_with_a_session_has_both(world: World) -> None:
    """An open step of a run with a model reaches it through the gateway all the same, so that it is metered."""
    run = _with_network(world.run, "open", model=Model(name="m"))
    spec = container_spec(
        world.context, run, run.steps[0], world.place(run), attempt=1, session=_session(world), deadline=60
    )
    assert spec.network == "bridge"
    assert "--gateway" in spec.argv
    assert spec.env["RUNNER_MODEL"] == "m"


def test_session_without_a_model_sets_none_of_its_variables(world: World) -> None:
    """Where no model is named, a framework finds the proxy and the packages, and nothing that looks like a model."""
    run = _with_network(world.run, "gateway", model=None)
    session = _session(world, proxy=True, packages=True)
    spec = container_spec(world.context, run, run.steps[0], world.place(run), attempt=1, session=session, deadline=60)
    assert MODEL_VARIABLES & spec.env.keys() == set()
    assert spec.env["HTTPS_PROXY"] == "http://run:run-t@127.0.0.1:4000"
    assert spec.env["PIP_INDEX_URL"] == "http://run:run-t@127.0.0.1:4000/packages/simple/"


def test_open_run_is_marked_in_its_record(world: World) -> None:
    """The record of a run with an open step notes that it is not hermetic, and names the steps."""
    run = _with_network(world.run, "open")
    done = perform_run(world.context, run)
    assert done.record.notes[0].startswith(f"not hermetic: network was open in {run.steps[0].id}")
