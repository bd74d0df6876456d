"""How good what was built is, and how it came about, in few words and cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runner.report.format import DASH, count, share
from runner.report.results import Metrics
from runner.report.tables import Cell, Column, Tone

CRUD = Column(title="crud", right=True, rank=2)
"""CRUD effectiveness: shown where it was measured anywhere."""
LINES = Column(title="lines", right=True, rank=7)
_QUALITY = {
    "crud_effectiveness": "crud",
    "endpoint_success": "endpoints",
    "model_correctness": "model",
    "availability": "available",
    "carry_forward": "carried forward",
    "tests_passed": "own tests",
    "imports_ok": "imports",
}
_CHANGES = {"files_added": "added", "files_changed": "changed", "files_removed": "removed"}


def is_judged(rows: Iterable[Metrics]) -> bool:
    """Tell whether CRUD effectiveness is known of any of some runs or steps."""
    return any(one.get("crud_effectiveness") is not None for one in rows)


def crud_cell(metrics: Metrics) -> Cell:
    """Return CRUD effectiveness as a cell."""
    value = metrics.get("crud_effectiveness")
    if value is None:
        return Cell(DASH, Tone.FAINT)
    return Cell(share(value), Tone.GOOD if value == 1 else Tone.BAD if value == 0 else Tone.WARN)


def lines_cell(metrics: Metrics) -> Cell:
    """Return the lines that came and went as a cell, like `+120 -3`."""
    added, removed = metrics.get("lines_added"), metrics.get("lines_removed")
    if added is None or removed is None:
        return Cell(DASH, Tone.FAINT)
    return Cell(f"+{count(added)} -{count(removed)}")


def quality_words(metrics: Mapping[str, Any]) -> str:
    """Say what was measured of quality, like `crud 100 %, endpoints 95 %`; empty if nothing was."""
    known = [f"{word} {share(metrics[name])}" for name, word in _QUALITY.items() if metrics.get(name) is not None]
    return ", ".join(known)


def changes_words(metrics: Mapping[str, Any]) -> str:
    """Say what a run's steps changed; empty if that is not known."""
    files = [f"{count(metrics[name])} {word}" for name, word in _CHANGES.items() if metrics.get(name) is not None]
    lines = lines_cell(metrics).text
    parts = [f"files {', '.join(files)}" if files else "", f"lines {lines}" if lines != DASH else ""]
    return "; ".join(part for part in parts if part)
