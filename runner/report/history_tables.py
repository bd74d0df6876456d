"""What `runner steps` and `runner diff` show, as tables and plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.evidence.history.diff import Change, TextDiff
from runner.evidence.history.oci import KeptStep
from runner.evidence.records import RunRecord
from runner.evidence.walk import show_path
from runner.report.format import count, duration, size
from runner.report.tables import Cell, Column, Table, Tone, outcome_cell

_STEPS = (
    Column(title="#", right=True),
    Column(title="step"),
    Column(title="outcome"),
    Column(title="time", right=True, rank=2),
    Column(title="tokens in", right=True, rank=3),
    Column(title="out", right=True, rank=3),
    Column(title="added", right=True, rank=1),
    Column(title="changed", right=True, rank=1),
    Column(title="removed", right=True, rank=1),
    Column(title="layer", right=True, rank=2),
)
_STAT = (Column(title="file"), Column(title="change"), Column(title="bytes", right=True, rank=2), Column(title="lines"))
_SIGNS = {"added": ("A", Tone.GOOD), "removed": ("D", Tone.BAD), "changed": ("M", Tone.WARN)}


def step_values(
    record: RunRecord, per_step: Iterable[Mapping[str, Any]], kept: Sequence[KeptStep]
) -> list[dict[str, Any]]:
    """Return one mapping per planned step; what is not known is None.

    Args:
        record: the run.
        per_step: the list of that name in the run's `metrics.json`.
        kept: the steps that its history keeps.
    """
    done = {one.index: one for one in record.steps}
    numbers = {one.get("step"): one for one in per_step}
    layers = {one.number: one for one in kept}
    values = []
    for planned in record.run.steps:
        step, layer = done.get(planned.index), layers.get(planned.index)
        own = numbers.get(planned.id, {})
        values.append(
            {
                "index": planned.index,
                "step": planned.id,
                "outcome": step.outcome if step else None,
                "reason": step.reason if step else "",
                "seconds": own.get("wall_seconds"),
                "tokens_in": own.get("tokens_in"),
                "tokens_out": own.get("tokens_out"),
                "added": layer.added if layer else None,
                "changed": layer.changed if layer else None,
                "removed": layer.removed if layer else None,
                "layer_bytes": layer.layer.bytes if layer else None,
                "layer_sha256": layer.layer.sha256 if layer else None,
                "image": f"sha256:{layer.config}" if layer else None,
            }
        )
    return values


def steps_table(values: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of what `step_values` gives."""
    rows = [
        (
            Cell(str(one["index"]), Tone.FAINT),
            Cell(str(one["step"]), Tone.STRONG),
            outcome_cell(one["outcome"], "not reached"),
            Cell(duration(one["seconds"])),
            Cell(count(one["tokens_in"])),
            Cell(count(one["tokens_out"])),
            *(Cell(count(one[name])) for name in ("added", "changed", "removed")),
            Cell(size(one["layer_bytes"])),
        )
        for one in values
    ]
    reasons = tuple(f"{one['step']}: {one['reason']}" for one in values if one["reason"])
    return Table(columns=_STEPS, rows=tuple(rows), notes=reasons)


def change_line(change: Change) -> tuple[Cell, ...]:
    """Return a path that differs as one line: a letter and its name."""
    letter, tone = _SIGNS[change.how]
    return (Cell(f"{letter} ", tone), Cell(show_path(change.path)))


def stat_table(diffs: Sequence[TextDiff]) -> Table:
    """Return one row per path that differs, with how many bytes and lines."""
    rows = [
        (
            Cell(show_path(one.change.path)),
            Cell(one.change.how, _SIGNS[one.change.how][1]),
            Cell(f"{one.change.bytes:+,}"),
            Cell(one.reason or f"+{one.added} -{one.removed}"),
        )
        for one in diffs
    ]
    words = ", ".join(f"{sum(one.change.how == how for one in diffs)} {how}" for how in _SIGNS)
    added, removed = sum(one.added for one in diffs), sum(one.removed for one in diffs)
    return Table(columns=_STAT, rows=tuple(rows), notes=(f"{words}; {added} lines more, {removed} lines less",))


def diff_lines(diff: TextDiff) -> Iterable[tuple[Cell, ...]]:
    """Yield a path's differences as lines for a terminal, headed like a unified diff."""
    path = show_path(diff.change.path)
    old = "/dev/null" if diff.change.old is None else f"a/{path}"
    new = "/dev/null" if diff.change.new is None else f"b/{path}"
    yield (Cell(f"--- {old}", Tone.STRONG),)
    yield (Cell(f"+++ {new}", Tone.STRONG),)
    if diff.reason:
        yield (Cell(f"# {diff.reason}", Tone.FAINT),)
    tones = {"+": Tone.GOOD, "-": Tone.BAD, "@": Tone.FAINT}
    for line in diff.lines:
        for part in line.split("\n"):
            yield (Cell(part, tones.get(line[:1], Tone.PLAIN)),)


def change_values(diff: TextDiff) -> dict[str, Any]:
    """Return a path's differences for JSON."""
    change = diff.change
    return {
        "path": show_path(change.path),
        "change": change.how,
        "bytes": change.bytes,
        "old": _side(change, old=True),
        "new": _side(change, old=False),
        "lines_added": None if diff.reason else diff.added,
        "lines_removed": None if diff.reason else diff.removed,
        "not_compared": diff.reason or None,
    }


def _side(change: Change, *, old: bool) -> dict[str, Any] | None:
    node = change.old if old else change.new
    if node is None:
        return None
    mode = f"{node.mode:04o}"
    return {"kind": node.kind, "mode": mode, "size": node.size or None, "sha256": node.sha256 or None}
