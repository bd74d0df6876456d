"""Check the order of a file's steps: names that lead nowhere, groups that are torn apart, cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.spec.complaints import Complaint, choose_from
from runner.spec.order import cycle_in, groups_of, predecessors
from runner.spec.page import Page
from runner.spec.scenario import Step


@dataclass(frozen=True, kw_only=True)
class _Names:
    """What `depends_on` may name."""

    steps: Mapping[str, Step]
    """Every step of the file, the disabled ones too."""
    groups: Mapping[str, tuple[str, ...]]
    """Steps of each parallel group that has any."""


def check_order(page: Page) -> Iterator[Complaint]:
    """Yield what is wrong with the order that a file gives its steps."""
    found = [*_check_ids(page), *_check_groups(page)]
    names = _Names(steps={step.id: step for step in page.steps}, groups=groups_of(page.steps))
    for number, step in page.enabled():
        for place, name in enumerate(step.depends_on or ()):
            found += _check_dependency(page, names, step, name, page.where(number, "depends_on", place))
    yield from found
    # A name that means something else than it should can make a cycle that nobody wrote.
    if not found and (cycle := cycle_in(predecessors(page.steps))):
        yield _cycle(page, cycle)


def _check_ids(page: Page) -> Iterator[Complaint]:
    first: dict[str, int] = {}
    for number, step in enumerate(page.steps):
        if step.id in first:
            yield Complaint(
                what=f"the step id `{step.id}` stands here again",
                where=page.where(number, "id"),
                why=f"the first is at {page.where(first[step.id], 'id')}",
                hint="give each step its own id",
            )
        first.setdefault(step.id, number)
    if not any(step.enabled for step in page.steps):
        yield Complaint(what="every step is disabled", where=page.located.where(("steps",)), hint="enable at least one")


def _check_groups(page: Page) -> Iterator[Complaint]:
    ids = {step.id for step in page.steps}
    ended: set[str] = set()
    before: str | None = None
    for number, step in enumerate(page.steps):
        group = step.parallel_group
        if group != before and before is not None:
            ended.add(before)
        where = page.where(number, "parallel_group")
        if group is not None and group in ended and group != before:
            what = f"parallel_group: another step stands between `{step.id}` and the rest of `{group}`"
            hint = "put the steps of a group in a row, or give this one another group"
            yield Complaint(what=what, where=where, hint=hint)
        if group is not None and group in ids:
            what = f"parallel_group: `{group}` is the id of a step, too"
            yield Complaint(what=what, where=where, hint="depends_on could mean either; give the group another name")
        before = group


def _check_dependency(page: Page, names: _Names, step: Step, name: str, where: str) -> Iterator[Complaint]:
    steps, groups = names.steps, names.groups
    if name == step.id or step.id in groups.get(name, ()):
        own = "itself" if name == step.id else f"`{name}`, its own group"
        yield Complaint(what=f"depends_on: `{step.id}` would wait for {own}", where=where, hint="leave it out")
    elif name in groups:
        return
    elif name not in steps:
        named = {one.parallel_group for one in page.steps if one.parallel_group is not None}
        if name in named:
            yield Complaint(what=f"depends_on: every step of `{name}` is disabled", where=where, hint="leave it out")
            return
        hint = choose_from(name, {*groups, *(one.id for _, one in page.enabled())} - {step.id})
        yield Complaint(what=f"depends_on: there is no step `{name}`", where=where, hint=hint)
    elif not steps[name].enabled:
        yield Complaint(
            what=f"depends_on: the step `{name}` is disabled, so `{step.id}` could never begin",
            where=where,
            why=f"it is disabled at {page.where(page.steps.index(steps[name]), 'enabled')}",
            hint="enable it, or leave it out here",
        )


def _cycle(page: Page, cycle: tuple[str, ...]) -> Complaint:
    first = min(range(len(cycle)), key=lambda place: _number(page, cycle[place]))
    ordered = (*cycle[first:], *cycle[:first])
    number = _number(page, ordered[0])
    return Complaint(
        what=f"these steps wait for each other: {' -> '.join((*ordered, ordered[0]))}",
        where=page.where(number, "depends_on"),
        why="each would begin after the next one in this row",
        hint="take one of them out of the depends_on of the step before it in the row",
    )


def _number(page: Page, name: str) -> int:
    return next(number for number, step in enumerate(page.steps) if step.id == name)
