"""Render table values: with rich on a terminal with colours, in fixed-width columns otherwise."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from runner.cli.console import escape
from runner.report.tables import Cell, Column, Table, Tone

if TYPE_CHECKING:
    from rich.text import Text

_GAP = "  "
_STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.BAD: "red",
    Tone.WARN: "yellow",
    Tone.FAINT: "dim",
    Tone.STRONG: "bold",
}


def render_plain(table: Table, width: int) -> str:
    """Return the table in fixed-width columns, sentences folded to `width`, each line cut to it."""
    rows = [[_safe(cell) for cell in row] for row in table.rows]
    titles = [column.title for column in table.columns]
    widths = [max(len(text) for text in column) for column in zip(titles, *rows, strict=True)]
    for place, column in enumerate(table.columns):
        if column.folds:
            room = width - sum(widths) - len(_GAP) * (len(widths) - 1) + widths[place]
            widths[place] = min(widths[place], max(room, column.folds, len(column.title)))
    lines = [titles, ["-" * one for one in widths], *(line for row in rows for line in _folded(row, widths))]
    return "".join(_line(line, widths, table.columns)[:width].rstrip() + "\n" for line in lines)


def _folded(row: Sequence[str], widths: Sequence[int]) -> list[tuple[str, ...]]:
    """Return a row as the lines that its longest cell needs."""
    cells = [
        [text] if len(text) <= width else textwrap.wrap(text, width) for text, width in zip(row, widths, strict=True)
    ]
    return list(zip_longest(*cells, fillvalue=""))


def _line(texts: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    return _GAP.join(
        text.rjust(width) if column.right else text.ljust(width)
        for text, width, column in zip(texts, widths, columns, strict=True)
    )


def render_rich(table: Table, width: int) -> str:
    """Return the table with colours and a rule below its head, folded to `width`."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console as RichConsole
    from rich.table import Table as RichTable

    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    folding = any(column.folds for column in table.columns)
    for column in table.columns:
        stiff = column.right or column.rank == 0 or folding
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=stiff and not column.folds,
            overflow="fold" if column.folds else "ellipsis",
        )
    for row in table.rows:
        drawn.add_row(*(_text(cell) for cell in row))
    target = RichConsole(
        file=io.StringIO(), force_terminal=True, color_system="standard", width=width, legacy_windows=False, emoji=False
    )
    with target.capture() as caught:
        target.print(drawn)
    return caught.get()


def _text(cell: Cell) -> Text:
    from rich.text import Text as RichText

    return RichText(_safe(cell), style=_STYLES[cell.tone])


def _safe(cell: Cell) -> str:
    """Return a cell's text on one line; a tab has no width of its own."""
    return escape(cell.text).replace("\t", " ")
