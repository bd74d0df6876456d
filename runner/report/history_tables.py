"""What `runner steps` and `runner diff` show, as tables and plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from runner.evidence.history.diff import Change, TextDiff
from runner.evidence.history.oci import KeptStep
from runner.evidence.records import METRIC_NAMES, RunRecord
from runner.evidence.walk import FILE, show_path
from runner.plan.graph import dependencies, is_linear
from runner.report.format import DASH, count, duration, size
from runner.report.step_notes import step_notes
from runner.report.tables import Cell, Column, Table, Tone, outcome_cell

_NAMED = 4
"""Steps that are named before a step; of more, only the number is given."""
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
    after = dependencies(record.run.steps)
    asked = {one.index: one for one in record.suspended}
    values = []
    for planned in record.run.steps:
        step, question = done.get(planned.index), asked.get(planned.index)
        own = numbers.get(planned.id, {})
        values.append(
            {
                "index": planned.index,
                "step": planned.id,
                "kind": planned.kind,
                "after": list(after[planned.id]),
                "outcome": step.outcome if step else None,
                "reason": step.reason if step else "",
                "counts": step.counts if step else True,
                "attempts": len(step.attempts) if step else None,
                "seconds": own.get("wall_seconds"),
                "tokens_in": own.get("tokens_in"),
                "tokens_out": own.get("tokens_out"),
                **_layer(layers.get(planned.index)),
                "waits_for": question.model_dump(mode="json") if question else None,
                "metrics": {name: own.get(name) for name in METRIC_NAMES},
                "record": step.model_dump(mode="json") if step else None,
            }
        )
    return values


def _layer(kept: KeptStep | None) -> dict[str, Any]:
    """Return what the history keeps of a step."""
    if kept is None:
        return dict.fromkeys(("added", "changed", "removed", "layer_bytes", "layer_sha256", "image"))
    return {
        "added": kept.added,
        "changed": kept.changed,
        "removed": kept.removed,
        "layer_bytes": kept.layer.bytes,
        "layer_sha256": kept.layer.sha256,
        "image": f"sha256:{kept.config}",
    }


def steps_table(record: RunRecord, values: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of what `step_values` gives; kind, order and attempts only where they tell something."""
    shown = {
        "kind": any(one["kind"] != "prompt" for one in values),
        "after": not is_linear(record.run.steps),
        "attempts": any((one["attempts"] or 0) > 1 for one in values),
    }
    columns = tuple(column for column, _ in _COLUMNS if shown.get(column.title, True))
    cells = [cell for column, cell in _COLUMNS if shown.get(column.title, True)]
    rows = tuple(tuple(cell(one) for cell in cells) for one in values)
    return Table(columns=columns, rows=rows, notes=tuple(step_notes(record)))


def _after(names: Sequence[str]) -> str:
    """Write what a step waits for, shortened where it is much."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or DASH) + more


def _outcome(one: Mapping[str, Any]) -> Cell:
    return outcome_cell(one["outcome"], "waits for approval" if one["waits_for"] else "not reached")


_COLUMNS: tuple[tuple[Column, Callable[[Mapping[str, Any]], Cell]], ...] = (
    (Column(title="#", right=True), lambda one: Cell(str(one["index"]), Tone.FAINT)),
    (Column(title="step"), lambda one: Cell(str(one["step"]), Tone.STRONG)),
    (Column(title="kind", rank=3), lambda one: Cell(str(one["kind"]))),
    (Column(title="after", rank=1, folds=16), lambda one: Cell(_after(one["after"]))),
    (Column(title="outcome"), _outcome),
    (Column(title="attempts", right=True, rank=4), lambda one: Cell(count(one["attempts"]))),
    (Column(title="time", right=True, rank=2), lambda one: Cell(duration(one["seconds"]))),
    (Column(title="tokens in", right=True, rank=3), lambda one: Cell(count(one["tokens_in"]))),
    (Column(title="out", right=True, rank=3), lambda one: Cell(count(one["tokens_out"]))),
    (Column(title="added", right=True, rank=1), lambda one: Cell(count(one["added"]))),
    (Column(title="changed", right=True, rank=1), lambda one: Cell(count(one["changed"]))),
    (Column(title="removed", right=True, rank=1), lambda one: Cell(count(one["removed"]))),
    (Column(title="layer", right=True, rank=2), lambda one: Cell(size(one["layer_bytes"]))),
)


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
    known = node.size if node.kind == FILE else None
    return {"kind": node.kind, "mode": f"{node.mode:04o}", "size": known, "sha256": node.sha256 or None}
