"""Which steps of a run can go next: a table of what is waited for, without clocks, threads or containers."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from runner.plan.graph import dependencies
from runner.plan.models import PlannedStep

TOLERABLE = frozenset({"failed", "timed_out", "exceeded"})
"""Outcomes that `continue_on_failure` puts up with: the framework's own, not ours and not the user's."""


@dataclass(frozen=True)
class Verdict:
    """What the end of a step means for the others."""

    satisfied: bool
    """Whether what waits for it can go on."""
    counts: bool = True
    """Whether the run's outcome depends on it; what is skipped because of it counts just as it does."""


PASSED = Verdict(satisfied=True)
LEFT_OUT = Verdict(satisfied=True, counts=False)
"""Of a step whose own condition does not hold."""


def verdict_of(step: PlannedStep, outcome: str, *, counts: bool = True, left_out: bool = False) -> Verdict:
    """Return what the end of a step means for the others.

    Args:
        step: the step.
        outcome: what it came to.
        counts: of a step that was skipped, whether what it was skipped for counts.
        left_out: whether its own condition left it out.
    """
    if left_out:
        return LEFT_OUT
    if outcome == "passed":
        return PASSED
    if step.continue_on_failure and outcome in TOLERABLE:
        return Verdict(satisfied=True, counts=False)
    return Verdict(satisfied=False, counts=counts)


class Schedule:
    """What has ended, what is under way and what can go next; not safe in several threads without a lock.

    A step is in one state after another: waiting for others, ready, held (an approval nobody has decided on) or under
    way, ended.

    Args:
        steps: planned steps; every dependency comes before the step that has it.
        parallel: how many may be under way at once; None: any number.
    """

    def __init__(self, steps: Sequence[PlannedStep], parallel: int | None = None) -> None:
        self._steps = {step.id: step for step in steps}
        self._needs = dependencies(steps)
        self._missing = {name: len(needs) for name, needs in self._needs.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in self._needs}
        for name, needs in self._needs.items():
            for one in needs:
                self._dependents[one].append(name)
        self._parallel = parallel
        self._ready: list[int] = []
        """Positions of those that can begin, smallest first."""
        self._doomed: list[int] = []
        """Positions of those that cannot, because something they wait for did not go well."""
        self._by_index = {step.index: step for step in steps}
        self._under_way: dict[str, None] = {}
        self._held: dict[str, None] = {}
        self._ended: dict[str, Verdict] = {}
        for step in steps:
            if not self._missing[step.id]:
                self._settle(step.id)

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """All steps, in planned order."""
        return tuple(self._steps.values())

    def ready(self) -> tuple[PlannedStep, ...]:
        """Return the steps that wait for no other step, by position; how many of them may begin says `room`."""
        return tuple(self._by_index[index] for index in self._ready)

    @property
    def room(self) -> int:
        """How many more steps may be under way."""
        limit = len(self._steps) if self._parallel is None else self._parallel
        return max(limit - len(self._under_way), 0)

    def doomed(self) -> tuple[tuple[PlannedStep, str], ...]:
        """Return the steps that can never begin, each with the step it waited for in vain.

        That is known when all it waits for has ended, and is the first of those that count, or the first of all: so
        the answer does not depend on which of them ended first.
        """
        return tuple((self._by_index[index], self._cause(self._by_index[index].id)) for index in self._doomed)

    def begin(self, name: str) -> None:
        """Take note that a ready step is under way."""
        self._leave(name)
        self._under_way[name] = None

    def hold(self, name: str) -> None:
        """Set a ready step aside that waits for something outside; it takes no room, and ends by `end`."""
        self._leave(name)
        self._held[name] = None

    def end(self, name: str, verdict: Verdict) -> None:
        """Take note that a step is over, whether it was under way, held, ready or doomed."""
        self._leave(name)
        self._ended[name] = verdict
        for one in self._dependents[name]:
            self._missing[one] -= 1
            if not self._missing[one] and one not in self._ended:
                self._settle(one)

    def verdict(self, name: str) -> Verdict:
        """Return what the end of a step meant.

        Raises:
            KeyError: if it has not ended.
        """
        return self._ended[name]

    @property
    def under_way(self) -> tuple[str, ...]:
        """Steps that have begun and not ended, in the order in which they began."""
        return tuple(self._under_way)

    @property
    def held(self) -> tuple[PlannedStep, ...]:
        """Steps that wait for something outside."""
        return tuple(self._steps[name] for name in self._held)

    @property
    def over(self) -> bool:
        """Whether every step has ended."""
        return len(self._ended) == len(self._steps)

    def _settle(self, name: str) -> None:
        """Put a step, all of whose dependencies have ended, where it belongs."""
        fits = all(self._ended[one].satisfied for one in self._needs[name])
        bisect.insort(self._ready if fits else self._doomed, self._steps[name].index)

    def _cause(self, name: str) -> str:
        bad = [one for one in self._needs[name] if not self._ended[one].satisfied]
        return next((one for one in bad if self._ended[one].counts), bad[0])

    def _leave(self, name: str) -> None:
        """Take a step out of the state it is in."""
        self._under_way.pop(name, None)
        self._held.pop(name, None)
        index = self._steps[name].index
        for group in (self._ready, self._doomed):
            place = bisect.bisect_left(group, index)
            if place < len(group) and group[place] == index:
                del group[place]
