"""Compare two histories of the same steps: where they part, and in what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.evidence.history.diff import Change, describe, differences, state
from runner.evidence.history.oci import KeptStep, read_steps
from runner.evidence.walk import show_path


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The workspaces that a step left twice."""

    number: int
    step: str
    one: str
    """Digest of the first one's image; empty if it is not kept."""
    other: str
    changes: tuple[Change, ...]
    """Paths that differ; empty also if one of the two is not kept."""

    @property
    def kept(self) -> bool:
        """Whether both are kept, so that they can be compared."""
        return bool(self.one and self.other)


def pairs(one: Path, other: Path) -> tuple[Pair, ...]:
    """Compare two histories, step by step.

    Args:
        one: a run's folder `history`, which need not exist.
        other: that of another run of the same steps.

    Returns:
        One pair per step that either of them keeps, in order.

    Raises:
        StorageError: if one of them is damaged.
    """
    first, second = _steps(one), _steps(other)
    return tuple(_pair(one, first.get(number), other, second.get(number)) for number in sorted({*first, *second}))


def how(change: Change) -> str:
    """Return how a path differs, the first workspace being the older one."""
    if change.old is None:
        return "only in the second"
    if change.new is None:
        return "only in the first"
    old, new = describe(change.old), describe(change.new)
    return "other content" if old == new else f"{old}; {new}"


def named(changes: Sequence[Change]) -> list[tuple[str, str]]:
    """Return paths that differ as text, each with how."""
    return [(show_path(change.path), how(change)) for change in changes]


def _steps(history: Path) -> Mapping[int, KeptStep]:
    return {step.number: step for step in read_steps(history)}


def _pair(one: Path, first: KeptStep | None, other: Path, second: KeptStep | None) -> Pair:
    changes: tuple[Change, ...] = ()
    if first is not None and second is not None and first.index != second.index:
        changes = differences(state(one, first), state(other, second))
    step = first or second
    return Pair(
        number=step.number if step else 0,
        step=step.id if step else "",
        one=first.config if first else "",
        other=second.config if second else "",
        changes=changes,
    )
