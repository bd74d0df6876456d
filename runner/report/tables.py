"""Tables as values: what to show, without saying how a terminal shows it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Tone(enum.StrEnum):
    """What a cell's colour says, on a terminal that has colours."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    FAINT = "faint"
    STRONG = "strong"


@dataclass(frozen=True)
class Cell:
    """Text that may come from anywhere: whoever shows it escapes it."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column; on a narrow terminal those with the highest `rank` are left out first, rank 0 never."""

    title: str
    right: bool = False
    rank: int = 0
    folds: int = 0
    """Width that is enough for sentences, which are folded to what room there is; 0: a cell stays on one line."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells, each as long as `columns`; notes are sentences shown below."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()


OUTCOME_TONES = {
    "passed": Tone.GOOD,
    "failed": Tone.BAD,
    "timed_out": Tone.BAD,
    "exceeded": Tone.BAD,
    "broken": Tone.WARN,
    "cancelled": Tone.FAINT,
    "skipped": Tone.FAINT,
}
"""The framework's doing is bad, ours is a warning."""


def outcome_cell(outcome: str | None, unfinished: str = "unfinished") -> Cell:
    """Return the cell of an outcome; one that is still open is called `unfinished`."""
    if outcome is None:
        return Cell(unfinished, Tone.FAINT)
    return Cell(outcome.replace("_", " "), OUTCOME_TONES.get(outcome, Tone.PLAIN))


def fit(table: Table, width: int, gap: int = 2) -> tuple[Table, tuple[str, ...]]:
    """Leave out columns until the table fits.

    Args:
        table: what should be shown.
        width: columns of the terminal.
        gap: spaces between two columns.

    Returns:
        The table, and the titles that were left out.
    """
    keep = list(range(len(table.columns)))
    while _needed(table, keep, gap) > width:
        worst = max(keep, key=lambda i: (table.columns[i].rank, i))
        if table.columns[worst].rank == 0:
            break
        keep.remove(worst)
    left_out = tuple(column.title for i, column in enumerate(table.columns) if i not in keep)
    if not left_out:
        return table, ()
    rows = tuple(tuple(row[i] for i in keep) for row in table.rows)
    fitted = Table(columns=tuple(table.columns[i] for i in keep), rows=rows, title=table.title, notes=table.notes)
    return fitted, left_out


def _needed(table: Table, keep: list[int], gap: int) -> int:
    return sum(_enough(table, i) for i in keep) + gap * (len(keep) - 1)


def _enough(table: Table, place: int) -> int:
    column = table.columns[place]
    longest = max([len(column.title), *(len(row[place].text) for row in table.rows)])
    return min(longest, max(column.folds, len(column.title))) if column.folds else longest
