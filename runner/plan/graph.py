"""The graph of a run's steps: who waits for whom, and what of the workspace each of them works on.

Sets of steps are bits of one whole number, bit `index - 1` per step: a union or a difference of a thousand steps is one
operation, so that a graph of that size is analysed in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from runner.plan.models import PlannedStep

Mode = Literal["trunk", "view", "read", "none"]
"""What a step works on: the run's one workspace, a view of its own, the run's one workspace without the right to write,
or nothing."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What of the workspace a step works on."""

    mode: Mode
    shared: bool = False
    """Whether it works on the trunk beside others that do so too."""
    block: int = 0
    """Number of steps before it that have the trunk to themselves; what runs between two of those is one block."""
    upstream: tuple[str, ...] = ()
    """Steps before it in its block whose changes are not in the trunk until the block is merged, by position."""


def dependencies(steps: Sequence[PlannedStep]) -> Mapping[str, tuple[str, ...]]:
    """Return what each step waits for, by position; a step that says nothing waits for the one before it."""
    found: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for step in steps:
        found[step.id] = before if step.depends_on is None else step.depends_on
        before = (step.id,)
    return found


def ancestors(steps: Sequence[PlannedStep]) -> Mapping[str, frozenset[str]]:
    """Return every step that has to end before each step, those before its dependencies included."""
    return {
        step.id: frozenset(steps[place].id for place in _places(mask))
        for step, mask in zip(steps, _earlier(steps), strict=True)
    }


def is_linear(steps: Sequence[PlannedStep]) -> bool:
    """Say whether each step waits for the one before it, so that no two can be under way at once."""
    needed = dependencies(steps)
    return all(before.id in needed[after.id] for before, after in pairwise(steps))


def placements(steps: Sequence[PlannedStep]) -> Mapping[str, Placement]:
    """Return what of the workspace each step works on.

    A step with no other step beside it that uses the workspace has the trunk to itself. Two steps are beside each other
    if neither has to wait for the other, whether or not they happen to run at the same time: where a step works
    must not depend on how fast the others are.

    Args:
        steps: planned steps; every dependency comes before the step that has it.
    """
    earlier = _earlier(steps)
    later = _later(earlier, steps)
    using = _mask(_uses(step) for step in steps)
    alone = _mask(
        _uses(step) and not using & ~(earlier[place] | later[place] | 1 << place) for place, step in enumerate(steps)
    )
    blocks = [(before & alone).bit_count() for before in earlier]
    changing: dict[int, int] = {}
    for place, step in enumerate(steps):
        if _uses(step) and step.workspace == "own":
            changing[blocks[place]] = changing.get(blocks[place], 0) | 1 << place
    return {
        step.id: _placement(
            step,
            alone=bool(alone >> place & 1),
            block=blocks[place],
            upstream=tuple(steps[one].id for one in _places(earlier[place] & changing.get(blocks[place], 0))),
        )
        for place, step in enumerate(steps)
    }


def _placement(step: PlannedStep, *, alone: bool, block: int, upstream: tuple[str, ...]) -> Placement:
    if not _uses(step):
        return Placement(mode="none", block=block)
    if alone:
        return Placement(mode="trunk", block=block, upstream=upstream)
    match step.workspace:
        case "shared":
            return Placement(mode="trunk", shared=True, block=block, upstream=upstream)
        case "read-only" if not upstream:
            return Placement(mode="read", block=block)
        case _:
            return Placement(mode="view", block=block, upstream=upstream)


def _uses(step: PlannedStep) -> bool:
    """Say whether a step sees the workspace; without a container it can read it at most."""
    if step.kind in {"model", "approval"}:
        return step.workspace == "read-only"
    return step.workspace != "none"


def _earlier(steps: Sequence[PlannedStep]) -> list[int]:
    """Return the ancestors of each step as bits."""
    needed = dependencies(steps)
    places = {step.id: place for place, step in enumerate(steps)}
    found: list[int] = []
    for step in steps:
        mask = 0
        for place in map(places.__getitem__, needed[step.id]):
            mask |= found[place] | 1 << place
        found.append(mask)
    return found


def _later(earlier: Sequence[int], steps: Sequence[PlannedStep]) -> list[int]:
    """Return the descendants of each step as bits."""
    needed = dependencies(steps)
    places = {step.id: place for place, step in enumerate(steps)}
    found = [0] * len(earlier)
    for place in reversed(range(len(steps))):
        reached = found[place] | 1 << place
        for one in needed[steps[place].id]:
            found[places[one]] |= reached
    return found


def _mask(flags: Iterator[bool]) -> int:
    """Return a set as bits from one flag per step."""
    text = "".join("1" if flag else "0" for flag in flags)
    return int(text[::-1] or "0", 2)


def _places(mask: int) -> Iterator[int]:
    """Return the places of a set's steps, smallest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
