"""Markdown of a run's README: text that comes from anywhere, tables, and numbers that may be unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runner.evidence.logs import escape
from runner.evidence.readings import Number

DASH = "\N{EN DASH}"
"""A value that was not measured; never 0."""
_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&$])")
_KIB = 1024.0


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, left: int) -> list[str]:
    """Return a Markdown table whose first `left` columns are left-aligned."""
    rule = [":---" if number < left else "---:" for number in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, tuple(rule), *rows)]


def value(unit: str, number: str | Number | None) -> str:
    """Return a number with its unit; a dash for what was not measured."""
    if number is None or isinstance(number, str):
        return DASH
    match unit:
        case "seconds":
            return f"{number:,.2f} s"
        case "bytes":
            return _size(float(number))
        case "USD":
            return f"{number:,.4f} USD"
        case "share":
            return f"{100 * number:.4g} %"
        case _:
            return f"{number:,.4g}" if isinstance(number, float) else f"{number:,}"


def _size(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:,.0f} B" if unit == "B" else f"{value:,.1f} {unit}"
        value /= _KIB
    return f"{value:,.1f} TiB"


def text(found: str) -> str:
    """Return text on one line that neither a terminal nor a Markdown viewer takes for more than text."""
    return _MARKUP.sub(r"\\\1", escape(found))
