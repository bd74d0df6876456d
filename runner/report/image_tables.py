"""The table of images."""

from __future__ import annotations

from collections.abc import Iterable

from runner.images.models import ImageStatus
from runner.report.format import DASH, count, size
from runner.report.tables import Cell, Column, Table, Tone

_COLUMNS = (
    Column(title="image"),
    Column(title="state"),
    Column(title="size", right=True, rank=1),
    Column(title="artifacts", right=True, rank=3),
    Column(title="fetched", right=True, rank=4),
    Column(title="tag", rank=2),
    Column(title="id", rank=5),
)


def image_table(images: Iterable[ImageStatus]) -> Table:
    """Return one row per recipe, with what has to be done next as its state."""
    found = list(images)
    notes = tuple(f"{one.name}: the lock is older than its inputs: {one.stale}" for one in found if one.stale)
    return Table(columns=_COLUMNS, rows=tuple(_row(one) for one in found), notes=notes)


def _row(image: ImageStatus) -> tuple[Cell, ...]:
    have = None if image.artifacts is None or image.missing is None else image.artifacts - image.missing
    return (
        Cell(image.name, Tone.STRONG),
        _state(image),
        Cell(size(image.size)),
        Cell(count(image.artifacts)),
        Cell(count(have)),
        Cell(image.tag or DASH),
        Cell((image.id or DASH).removeprefix("sha256:")[:12], Tone.FAINT),
    )


def _state(image: ImageStatus) -> Cell:
    if not image.locked:
        return Cell("not locked", Tone.BAD)
    if image.stale:
        return Cell("lock is stale", Tone.BAD)
    if image.built:
        return Cell("ready", Tone.GOOD)
    return Cell("not fetched" if image.missing else "not built", Tone.WARN)
