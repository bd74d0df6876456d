"""Prices and budgets in a real gateway process, with the real SDK in front of it and an endpoint behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from runner.gateway.client import GatewayProcess
from runner.gateway.session import Metered, Session, SessionSpec
from runner.gateway.settings import GatewaySettings, Spent
from runner.spec.model import Budget, Budgets

pytestmark = pytest.mark.processes

ASK: list[Any] = [{"role": "user", "content": "hello"}]
PRICES = """\
version: 4
currency: USD
vendors:
  - provider: openai
    source: a list
    models:
      - {model: real-model-1, valid_from: 2020-01-01, input: 10, cached: 1, output: 100, reasoning: 1000}
"""
# The endpoint states 11 tokens in, 8 of them cached, and 5 out, 2 of them reasoning.
COST = (3 * 10 + 8 * 1 + 3 * 100 + 2 * 1000) / 1e6
Sdk = Callable[..., openai.OpenAI]


@pytest.fixture
def start(settings: GatewaySettings, tmp_path: Path) -> Callable[..., Any]:
    """Return what starts a gateway process that has a table of prices."""
    path = tmp_path / "config" / "prices.yaml"
    path.parent.mkdir()
    path.write_text(PRICES)

    @contextmanager
    def started(**changes: Any) -> Iterator[GatewayProcess]:
        gateway = GatewayProcess(dataclasses.replace(settings, prices=path, **changes))
        try:
            yield gateway
        finally:
            gateway.shutdown()

    return started


@pytest.fixture
def spec(make_spec: Callable[..., SessionSpec], upstream: Any) -> SessionSpec:
    """Return a session behind an endpoint that answers well."""
    return make_spec(model=upstream.model("ok"))


def ask(sdk: Sdk, session: Session) -> None:
    """Make one call."""
    sdk(session).chat.completions.create(model="m", messages=ASK)


def test_calls_have_their_price(start: Any, spec: SessionSpec, sdk: Sdk, calls: Any) -> None:
    """Each line, the totals and whoever watches are told the same cost, and which table it is from."""
    heard: list[Metered] = []
    with start() as gateway:
        session = gateway.open(spec, heard.append)
        for _ in range(2):
            ask(sdk, session)
        totals = gateway.close(session)
    assert [line["cost_usd"] for line in calls()] == [pytest.approx(COST, abs=1e-12)] * 2
    assert calls()[0]["cost_source"].startswith("config/prices.yaml version 4, sha256 ")
    assert totals.cost_usd == pytest.approx(2 * COST, abs=1e-12)
    assert totals.cost_source == calls()[0]["cost_source"]
    assert totals.tokens_reasoning == 4
    assert [one.cost_usd for one in heard] == [line["cost_usd"] for line in calls()]


@pytest.mark.parametrize(
    ("whose", "budget", "sentence"),
    [
        ("step", {"calls": 1}, "calls is 1 and 1 are used"),
        ("run", {"tokens": 16}, "tokens is 16 and 16 are used"),
        ("experiment", {"dollars": 0.002}, f"dollars is $0.002 and ${COST:.4f} are used"),
    ],
)
def test_call_beyond_a_budget(
    start: Any,
    spec: SessionSpec,
    sdk: Sdk,
    *,
    calls: Any,
    whose: str,
    budget: dict[str, Any],
    sentence: str,
) -> None:
    """A call over a step's, run's or experiment's budget is an error the SDK understands, recorded and in the totals."""
    limits = Budgets.model_validate({whose: budget})
    with start(budget=limits.experiment) as gateway:
        session = gateway.open(dataclasses.replace(spec, budgets=limits))
        ask(sdk, session)
        with pytest.raises(openai.PermissionDeniedError, match="over budget") as error:
            ask(sdk, session)
        totals = gateway.close(session)
    assert error.value.code == "budget_exceeded"
    assert error.value.response.headers["x-should-retry"] == "false"
    assert totals.exceeded == f"budgets.{whose}.{sentence}"
    assert [line["exceeded"] for line in calls()] == ["", totals.exceeded]
    assert totals.last_error_fault == "framework"


def test_attempts_share_the_runs_budget_and_not_the_steps(start: Any, spec: SessionSpec, sdk: Sdk) -> None:
    """A second attempt starts with a full purse of its own, and with what the first has left of the run's."""
    spec = dataclasses.replace(spec, budgets=Budgets(step=Budget(calls=2), run=Budget(calls=3)))
    found = []
    with start() as gateway:
        for attempt, possible in ((1, 2), (2, 1)):
            session = gateway.open(dataclasses.replace(spec, attempt=attempt))
            for _ in range(possible):
                ask(sdk, session)
            with pytest.raises(openai.PermissionDeniedError):
                ask(sdk, session)
            found.append(gateway.close(session).exceeded)
    assert found == ["budgets.step.calls is 2 and 2 are used", "budgets.run.calls is 3 and 3 are used"]


def test_experiments_budget_counts_what_was_spent_before(start: Any, spec: SessionSpec, sdk: Sdk) -> None:
    """A gateway that starts with a used-up budget refuses the first call of every run."""
    with start(budget=Budget(tokens=100), spent=Spent(tokens=100)) as gateway:
        session = gateway.open(spec)
        with pytest.raises(openai.PermissionDeniedError):
            ask(sdk, session)
        totals = gateway.close(session)
    assert totals.exceeded == "budgets.experiment.tokens is 100 and 100 are used"
