"""A graph of steps carried out in imagined time: what the driver of graphs is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runner.plan.models import PlannedStep

Fate = Literal["passed", "failed", "broken", "left out", "never decided"]


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """What happens to a step if it comes to it."""

    seconds: int
    fate: Fate


@dataclass(kw_only=True)
class World:
    """Everything at one moment; `moments` says who was under way after each step that ended."""

    good: set[str] = field(default_factory=set)
    """Steps that what comes after them can go on from."""
    bad: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    running: dict[str, int] = field(default_factory=dict)
    """Until when."""
    moments: list[tuple[str, frozenset[str]]] = field(default_factory=list)


def simulate(steps: Sequence[PlannedStep], fates: Mapping[str, Imagined], *, slots: int, parallel: int | None) -> World:
    """Carry the steps out second by second, and within a second one end after the other, by position."""
    world, now = World(), 0
    limits = (slots, parallel or len(steps))
    _go_on(world, steps, fates, now, limits)
    world.moments.append(("", frozenset(world.running)))
    while world.running:
        now = min(world.running.values())
        name = next(one.id for one in steps if world.running.get(one.id) == now)
        del world.running[name]
        tolerant = next(one.continue_on_failure for one in steps if one.id == name)
        passed = fates[name].fate == "passed" or (tolerant and fates[name].fate == "failed")
        (world.good if passed else world.bad).add(name)
        _go_on(world, steps, fates, now, limits)
        world.moments.append((name, frozenset(world.running)))
    return world


def _go_on(
    world: World, steps: Sequence[PlannedStep], fates: Mapping[str, Imagined], now: int, limits: tuple[int, int]
) -> None:
    """Settle what can be, by asking every step again as often as one of them changes something."""
    changed = True
    while changed:
        changed = False
        for place, one in enumerate(steps):
            known = world.good | world.bad
            if one.id in known or one.id in world.running or one.id in world.waiting:
                continue
            before = ([steps[place - 1].id] if place else []) if one.depends_on is None else one.depends_on
            if not known.issuperset(before):
                continue
            changed = True
            if not world.good.issuperset(before):
                world.bad.add(one.id)
            elif fates[one.id].fate == "left out":
                world.good.add(one.id)
            elif one.kind == "approval":
                _decide(world, one.id, fates[one.id].fate)
            else:
                changed = False
    kinds = {one.id: one.kind for one in steps}
    for place, one in enumerate(steps):
        before = ([steps[place - 1].id] if place else []) if one.depends_on is None else one.depends_on
        known = world.good | world.bad | world.running.keys() | world.waiting
        containers = sum(kinds[name] != "model" for name in world.running)
        free = len(world.running) < limits[1] and (one.kind == "model" or containers < limits[0])
        if one.id not in known and world.good.issuperset(before) and free:
            world.running[one.id] = now + fates[one.id].seconds


def _decide(world: World, name: str, fate: Fate) -> None:
    group = {"passed": world.good, "never decided": world.waiting}.get(fate, world.bad)
    group.add(name)
