"""What an experiment's gateway is started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from support.metered import make_call
from support.planning import make_experiment, make_framework, make_scenario

from runner.cli.gateway_stage import gateway_of, packages_folder, spent_before
from runner.cli.workplace import Workplace
from runner.errors import ConfigError
from runner.evidence.layout import RunLayout
from runner.gateway.calls import append_call
from runner.gateway.settings import GatewaySettings, Spent
from runner.ledger.rows import LedgerRow
from runner.spec.egress import Packages
from runner.spec.load import Inputs
from runner.spec.loaded import Loaded
from runner.spec.located import Located
from runner.spec.model import Budget, Budgets, Model
from runner.spec.project import Project

T = TypeVar("T", bound=BaseModel)

OPENAI = Model(provider="openai", name="known")
PRICES = """\
version: 1
currency: USD
vendors:
  - provider: openai
    source: a list
    models:
      - {model: known, valid_from: 2025-01-01, input: 1, output: 2}
"""
FREE: dict[str, Any] = {"network": "none"}


def _loaded(value: T) -> Loaded[T]:
    located = Located(value={}, path=Path("x"), shown="x", lines={}, texts={})
    return Loaded(value=value, file=Path("x"), sources={}, located=located)


def settings(root: Path, *, framework: dict[str, Any] | None = None, **experiment: Any) -> GatewaySettings | None:
    """Return the settings for one framework on one scenario."""
    (root / "config").mkdir(exist_ok=True)
    (root / "config" / "prices.yaml").write_text(PRICES)
    value = make_experiment(frameworks=("alpha",), scenarios=("build",), **experiment)
    inputs = Inputs(
        experiment=_loaded(value),
        frameworks={"alpha": _loaded(make_framework("alpha", **(framework or {})))},
        scenarios={"build": _loaded(make_scenario("build"))},
        answers={},
    )
    return gateway_of(Workplace(project=Project(root), environment={"OPENAI_API_KEY": "k"}), inputs)


def test_no_way_out_needs_no_gateway(tmp_path: Path) -> None:
    """Steps without a network need no gateway, and so no key."""
    assert settings(tmp_path, framework=FREE, model=OPENAI) is None


@pytest.mark.parametrize("network", ["gateway", "open"])
def test_any_way_out_is_metered(tmp_path: Path, network: str) -> None:
    """A step that has a network can reach the model, whichever network that is."""
    found = settings(tmp_path, framework={"network": network}, model=OPENAI)
    assert found is not None
    assert found.prices == tmp_path / "config" / "prices.yaml"


def test_hosts_alone_need_a_gateway_too(tmp_path: Path) -> None:
    """A framework that may reach a host goes through the gateway even if there is no model."""
    found = settings(tmp_path, framework={"allow": ("example.org",)}, model=None)
    assert found is not None
    assert found.key is None


def test_experiments_budget_is_the_gateways(tmp_path: Path) -> None:
    """What all runs together may use goes to the gateway process."""
    found = settings(tmp_path, model=OPENAI, budgets=Budgets(experiment=Budget(tokens=5)))
    assert found is not None
    assert found.budget == Budget(tokens=5)


@pytest.mark.parametrize("name", ["step", "run", "experiment"])
def test_budget_in_dollars_needs_a_price(tmp_path: Path, name: str) -> None:
    """A budget that nothing would count against is refused before anything starts; with a price it is fine."""
    budgets = Budgets.model_validate({name: {"dollars": 5}})
    assert settings(tmp_path, model=OPENAI, budgets=budgets) is not None
    with pytest.raises(ConfigError) as error:
        settings(tmp_path, model=OPENAI.model_copy(update={"name": "unknown"}), budgets=budgets)
    assert error.value.what == f"budgets.{name}.dollars cannot be kept: no price is known for openai/unknown"


@pytest.mark.parametrize("provider", ["scripted", "replay"])
def test_budget_in_dollars_of_prepared_answers(tmp_path: Path, provider: Any) -> None:
    """Nothing is paid for prepared answers, so that no price is missing."""
    model = Model(provider=provider, name="unknown")
    assert settings(tmp_path, model=model, budgets=Budgets(run=Budget(dollars=5))) is not None


def test_broken_table_of_prices_is_found_at_the_start(tmp_path: Path) -> None:
    """A mistake in the table ends the command before anything is built."""
    (tmp_path / "lab.yaml").write_text("version: none\n")
    with pytest.raises(ConfigError, match="things are wrong"):
        settings(tmp_path, model=OPENAI.model_copy(update={"prices": "lab.yaml"}))


def test_folder_of_packages_is_the_projects(tmp_path: Path) -> None:
    """`packages.folder` is relative to the project; without one there is none."""
    workplace = Workplace(project=Project(tmp_path), environment={})
    assert packages_folder(workplace, make_experiment(packages=Packages(folder="wheels"))) == tmp_path / "wheels"
    assert packages_folder(workplace, make_experiment()) is None


def _row(directory: str) -> LedgerRow:
    return LedgerRow(
        run_id="r",
        digest="d",
        experiment="small",
        framework="alpha",
        scenario="build",
        repetition=1,
        state="done",
        outcome="passed",
        reason="",
        model_label="openai/known",
        started_at=None,
        finished_at=None,
        directory=directory,
        metrics={},
    )


def test_runs_done_before_have_spent(tmp_path: Path) -> None:
    """What earlier runs used is read from their calls, also of those put aside; a run that called nothing used nothing."""
    append_call(RunLayout(tmp_path / "alpha/one").calls, make_call())
    append_call(RunLayout(tmp_path / "alpha/one").calls, make_call(n=2))
    append_call(RunLayout(tmp_path / ".superseded/alpha/one.2").calls, make_call())
    append_call(RunLayout(tmp_path / ".superseded/alpha/one.old").calls, make_call())
    append_call(RunLayout(tmp_path / "alpha/stranger").calls, make_call())
    spent = spent_before(tmp_path, [_row("alpha/one"), _row("alpha/silent")])
    assert spent == Spent(tokens=42, calls=3, dollars=0.75, call_time=4.5)
