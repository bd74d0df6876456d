"""What an experiment's gateway is started with: key, endpoint, prices, and what its budget has left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from runner.cli.workplace import Workplace
from runner.errors import ConfigError
from runner.evidence.layout import RunLayout
from runner.evidence.superseded import earlier
from runner.gateway.budgets import spent_by
from runner.gateway.calls import read_calls
from runner.gateway.egress.index_settings import index_settings
from runner.gateway.prices import Prices, load_prices
from runner.gateway.settings import GatewaySettings, Spent, find_prices, gateway_settings
from runner.ledger.rows import LedgerRow
from runner.spec.load import Inputs
from runner.spec.model import Budgets, Model
from runner.spec.models import Experiment
from runner.spec.ways import wants_gateway

_UNPRICED = frozenset({"scripted", "replay"})
"""Providers that nothing is paid for."""


def gateway_of(workplace: Workplace, inputs: Inputs) -> GatewaySettings | None:
    """Return the settings of an experiment's gateway; None if none of its steps has a way out.

    Raises:
        ConfigError: if the key is missing, the table of prices cannot be used, or a budget in dollars has no price.
    """
    experiment = inputs.experiment.value
    if not _is_wanted(inputs):
        return None
    settings = gateway_settings(
        experiment.model,
        workplace.environment,
        project=workplace.project.root,
        budget=experiment.budgets.experiment,
    )
    # Read here, so that a mistake in it is found before anything is built.
    require_prices(workplace, inputs)
    if experiment.packages is not None and experiment.packages.before is not None:
        return replace(settings, index=index_settings(workplace.environment))
    return settings


def require_prices(workplace: Workplace, inputs: Inputs) -> None:
    """Read the table of prices that an experiment's gateway would have, and see that its budgets can be kept.

    Raises:
        ConfigError: if the table cannot be used, or a budget in dollars has no price.
    """
    experiment = inputs.experiment.value
    if experiment.model is not None and _is_wanted(inputs):
        prices = load_prices(find_prices(experiment.model, workplace.project.root))
        _require_budgets(experiment.model, experiment.budgets, prices)


def _is_wanted(inputs: Inputs) -> bool:
    """Tell whether some step has a way out."""
    frameworks = {name: one.value for name, one in inputs.frameworks.items()}
    scenarios = {name: one.value for name, one in inputs.scenarios.items()}
    workflows = {name: one.value for name, one in inputs.workflows.items()}
    return wants_gateway(inputs.experiment.value, frameworks, scenarios, workflows)


def packages_folder(workplace: Workplace, experiment: Experiment) -> Path | None:
    """Return the folder that packages for the steps come from, if it is one."""
    packages = experiment.packages
    return workplace.project.root / packages.folder if packages is not None and packages.folder is not None else None


def spent_before(output: Path, rows: Iterable[LedgerRow]) -> Spent:
    """Return what runs have used up, by their calls files; what was set aside when one was done anew was spent too.

    Args:
        output: folder of run directories.
        rows: the runs.
    """
    folders = (folder for row in rows for folder in (output / row.directory, *earlier(output, row.directory)))
    return spent_by(call for folder in folders for call in read_calls(RunLayout(folder).calls).calls)


def _require_budgets(model: Model, budgets: Budgets, prices: Prices) -> None:
    """Refuse a budget in dollars that could not be kept, since no call would have a price."""
    limited = [name for name in ("step", "run", "experiment") if getattr(budgets, name).dollars is not None]
    if not limited or model.provider in _UNPRICED:
        return
    # A deployment of Azure has a name of its own; which model it is only its answers tell.
    known = (
        prices.has_vendor(model.provider)
        if model.provider == "azure"
        else prices.find(model.name, model.provider, datetime.now(UTC).date()) is not None
    )
    if not known:
        raise ConfigError(
            f"budgets.{limited[0]}.dollars cannot be kept: no price is known for {model.provider}/{model.name}",
            where=prices.name,
            why="a call without a known price counts nothing in dollars",
            hint="add the model to config/prices.yaml, or give a budget in tokens",
        )
