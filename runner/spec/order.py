"""The order of a file's steps: which of them each one waits for, as the file says it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from runner.spec.scenario import Step


def groups_of(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Return the enabled steps of each parallel group that has any, by the group's name."""
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        if step.enabled and step.parallel_group is not None:
            found[step.parallel_group] = (*found.get(step.parallel_group, ()), step.id)
    return found


def predecessors(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Return the steps that each enabled step waits for, in the order of the file.

    A step that says nothing waits for the step before it, or for the whole parallel group before it; the steps of a
    group wait for what is before the group. Disabled steps are passed over; names there are none of, too.

    Args:
        steps: the steps of one file.
    """
    enabled = [step for step in steps if step.enabled]
    groups, places = groups_of(steps), {step.id: place for place, step in enumerate(enabled)}
    found: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for place, step in enumerate(enabled):
        last = enabled[place - 1] if place else None
        if last is not None and (last.parallel_group is None or last.parallel_group != step.parallel_group):
            before = (last.id,) if last.parallel_group is None else groups[last.parallel_group]
        named = before if step.depends_on is None else _members(step.depends_on, groups)
        found[step.id] = tuple(sorted({one for one in named if one in places}, key=places.__getitem__))
    return found


def _members(names: Iterable[str], groups: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [one for name in names for one in groups.get(name, (name,))]


def ancestors(needed: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Return everything that has to end before each step, given what each one waits for; a cycle is gone round once."""
    found: dict[str, frozenset[str]] = {}
    for name in needed:
        reached: set[str] = set()
        waiting = list(needed[name])
        while waiting:
            one = waiting.pop()
            if one in found:
                reached |= {one} | found[one]
            elif one not in reached:
                reached.add(one)
                waiting += needed[one]
        found[name] = frozenset(reached)
    return found


def cycle_in(needed: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the steps of a cycle, each waiting for the next one and the last for the first; empty if there is none."""
    ended = set(in_order(needed))
    left = {name: named for name, named in needed.items() if name not in ended}
    if not left:
        return ()
    path = [next(iter(left))]
    while True:
        # Whatever is left waits for something that is left, so the way leads back to itself.
        following = next(one for one in left[path[-1]] if one in left)
        if following in path:
            return tuple(path[path.index(following) :])
        path.append(following)


def in_order(needed: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the steps so that each comes after all it waits for, otherwise in the order given.

    Those that wait for a cycle, or are in one, never come.
    """
    followers: dict[str, list[str]] = {name: [] for name in needed}
    for name, named in needed.items():
        for one in dict.fromkeys(named):
            followers[one].append(name)
    missing = {name: len(set(named)) for name, named in needed.items()}
    return _drained(followers, missing)


def _drained(followers: Mapping[str, Sequence[str]], missing: dict[str, int]) -> list[str]:
    names = list(missing)
    places = {name: place for place, name in enumerate(names)}
    ready = [place for place, name in enumerate(names) if not missing[name]]
    found: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        found.append(name)
        for one in followers[name]:
            missing[one] -= 1
            if not missing[one]:
                heapq.heappush(ready, places[one])
    return found
