"""Every value of an experiment, its frameworks, scenarios and workflows, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.report.tables import Cell, Column, Table, Tone
from runner.spec.load import Inputs
from runner.spec.loaded import Explained, Loaded, explain

_COLUMNS = (Column(title="key"), Column(title="value", folds=24), Column(title="source"))
_LONGEST = 60
"""Values are cut to this many characters; `--json` has them whole."""


def explain_tables(inputs: Inputs) -> Iterator[Table]:
    """Yield one table per file."""
    for title, loaded in _files(inputs):
        yield Table(title=title, columns=_COLUMNS, rows=tuple(_row(one) for one in explain(loaded)))


def explain_values(inputs: Inputs) -> dict[str, list[dict[str, str]]]:
    """Return the same as plain values, whole, by file."""
    return {
        title: [{"key": one.key, "value": one.value, "source": one.source} for one in explain(loaded)]
        for title, loaded in _files(inputs)
    }


def _files(inputs: Inputs) -> Iterator[tuple[str, Loaded[Any]]]:
    yield f"experiment {inputs.experiment.value.name}", inputs.experiment
    groups: tuple[tuple[str, Mapping[str, Loaded[Any]]], ...] = (
        ("framework", inputs.frameworks),
        ("scenario", inputs.scenarios),
        ("workflow", inputs.workflows),
    )
    for kind, group in groups:
        for name, loaded in group.items():
            yield f"{kind} {name}", loaded


def _row(one: Explained) -> tuple[Cell, ...]:
    value = one.value if len(one.value) <= _LONGEST else f"{one.value[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    return (Cell(one.key), Cell(value), Cell(one.source, Tone.FAINT if one.source == "default" else Tone.GOOD))
