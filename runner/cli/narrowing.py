"""Say why filters leave no run: which of them fits none, and what there is instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.errors import ConfigError, NothingSelected
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.report.format import plural

_COLUMNS = {"experiments": "experiment", "frameworks": "framework", "scenarios": "scenario", "outcomes": "outcome"}
"""Filter of the ledger -> what a row calls it; the others are of no name."""


def require_folder(output: Path, given: str | None) -> None:
    """Refuse a folder of runs that a person named and that is not there.

    Raises:
        ConfigError: if so; without a name an empty list is the answer, for nothing has run yet.
    """
    if given and not output.is_dir():
        raise ConfigError(f"there is no folder {output}", hint="name the folder of runs: --output DIR")


def require_fit(
    output: Path, filters: Mapping[str, Sequence[str]], help_command: str, *, finished: bool = False
) -> None:
    """Refuse filters that no run fits; without filters, or without runs, an empty list is the answer.

    Args:
        output: folder of runs.
        filters: wanted names by the ledger's name of the filter.
        help_command: what explains the filters.
        finished: whether only finished runs are looked at.

    Raises:
        NothingSelected: naming the filter that fits none, and what there is.
    """
    wanted = {name: values for name, values in filters.items() if values}
    if not wanted or not ledger_path(output).is_file():
        return
    with open_ledger(ledger_path(output)) as ledger:
        rows = [row for row in ledger.rows() if row.outcome is not None or not finished]
        known = {row.digest for row in rows}
        alone = {name: known & _fitting(ledger, name, values) for name, values in wanted.items()}
    if not rows or set.intersection(*alone.values()):
        return
    none = [name for name, found in alone.items() if not found]
    what = " and ".join(_asked(name, wanted[name]) for name in none or wanted)
    there = [
        f"{name} there are: {', '.join(sorted({getattr(row, _COLUMNS[name]) or 'none yet' for row in rows}))}"
        for name in none
        if name in _COLUMNS
    ]
    raise NothingSelected(
        f"of {plural(len(rows), 'finished run' if finished else 'run')} in {output}, none {what}",
        why="; ".join(there),
        hint=f"see `{help_command}`",
    )


def _fitting(ledger: Ledger, name: str, values: Sequence[str]) -> set[str]:
    filters: dict[str, Any] = {name: values}
    return {row.digest for row in ledger.rows(**filters)}


def _asked(name: str, values: Sequence[str]) -> str:
    if name not in _COLUMNS:
        return "waits for approval"
    return f"is of {_COLUMNS[name]} {' or '.join(f'`{one}`' for one in values)}"
