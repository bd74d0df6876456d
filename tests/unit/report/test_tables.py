"""Tables that hold sentences, on terminals of any width."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.cli.tables import render_plain, render_rich
from runner.report.tables import Cell, Column, Table, fit

REASON = "exited 1: the module `structure` could not be imported; see steps/step_003/stderr.log"
TABLE = Table(
    columns=(
        Column(title="run"),
        Column(title="wall", right=True, rank=2),
        Column(title="reason", rank=1, folds=20),
    ),
    rows=((Cell("crud-r1"), Cell("3m11s"), Cell(REASON)), (Cell("crud-r2"), Cell("2m"), Cell(""))),
)


def test_a_sentence_drives_out_no_column_that_has_room() -> None:
    """A column that folds needs only what its `folds` says, so a long reason costs neither itself nor the others."""
    assert fit(TABLE, 36) == (TABLE, ())
    assert fit(TABLE, 35)[1] == ("wall",)
    assert fit(TABLE, 28)[1] == ("wall", "reason")


def test_a_short_sentence_needs_no_more_than_it_has() -> None:
    """Where all texts of a folding column are short, the column is as narrow as they are."""
    short = Table(columns=TABLE.columns, rows=((Cell("crud-r1"), Cell("2m"), Cell("no")),))
    assert fit(short, 21) == (short, ())
    assert fit(short, 20)[1] == ("wall",)


@pytest.mark.parametrize("render", [render_plain, render_rich])
@pytest.mark.parametrize("width", [36, 60, 80])
def test_sentences_are_folded_at_words(render: Callable[[Table, int], str], width: int) -> None:
    """A sentence stands whole in its own column, cut between words where they fit, within the terminal's width."""
    lines = render(TABLE, width).splitlines()
    plain = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines]
    assert max(len(line.rstrip()) for line in plain) <= width
    column = plain[0].index("reason")
    body = [line for line in plain[2:] if "crud-r2" not in line]
    assert "".join(line[column:].strip() for line in body).replace(" ", "") == REASON.replace(" ", "")
    assert width == 36 or [line for line in body if line[column:].rstrip().endswith("steps/step_003/stderr.log")]
    assert [line[:column].strip() for line in body[1:]] == [""] * (len(body) - 1)


def test_in_a_file_a_row_stays_one_line() -> None:
    """Without a terminal there is room for everything, so that a program can read the list by its lines."""
    assert len(render_plain(TABLE, 100_000).splitlines()) == 4
