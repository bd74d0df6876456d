"""What is known of the runs under way, folded from events: no terminal, no threads, no clock of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

from runner.events import (
    Event,
    ModelCalled,
    OutputLine,
    RunFinished,
    RunStarted,
    RunSuspended,
    StepFinished,
    StepStarted,
)
from runner.plan.resume import FINAL_OUTCOMES

Kind = tuple[str, str]
"""Framework and scenario: runs of the same kind take about the same time."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """What model calls have used so far."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    uncounted_calls: int = 0
    """Those whose tokens nobody stated."""
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    waited_seconds: float = 0.0
    """Time that they waited for the provider, added up."""

    def plus(self, event: ModelCalled) -> Use:
        """Return what it comes to with one call more."""
        return Use(
            calls=self.calls + 1,
            tokens_in=self.tokens_in + (event.tokens_in or 0),
            tokens_out=self.tokens_out + (event.tokens_out or 0),
            uncounted_calls=self.uncounted_calls + (event.tokens_in is None or event.tokens_out is None),
            cost_usd=self.cost_usd + (event.cost_usd or 0.0),
            unpriced_calls=self.unpriced_calls + (event.cost_usd is None),
            waited_seconds=self.waited_seconds + event.waited_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A run under way."""

    run: str
    framework: str
    scenario: str
    started: float
    steps_total: int
    step: str = ""
    """The step that began last."""
    index: int = 0
    under_way: tuple[str, ...] = ()
    """Steps that have begun and not ended, in the order in which they began."""
    ended: int = 0
    """Steps that have ended."""
    line: str = ""
    """Last line a step printed, as it came."""
    use: Use = field(default_factory=Use)

    @property
    def kind(self) -> Kind:
        return (self.framework, self.scenario)


@dataclass(kw_only=True)
class Progress:
    """Everything the live view shows; `tell` folds one event into it. The caller holds a lock."""

    started: float
    left: Counter[Kind]
    """Runs that have not started, by kind."""
    jobs: int
    slots: list[Slot | None] = field(default_factory=list)
    """Runs under way; a run keeps its place until it ends."""
    outcomes: Counter[str] = field(default_factory=Counter)
    suspended: set[str] = field(default_factory=set)
    """Runs that wait for people; they have no place."""
    seconds: dict[Kind, list[float]] = field(default_factory=dict)
    """Wall times of runs that finished, by kind; a run that was stopped or broke tells nothing of the others."""
    use: Use = field(default_factory=Use)
    """Of all runs, those that have ended included."""

    @property
    def active(self) -> list[Slot]:
        """Runs under way, in the order of their places."""
        return [slot for slot in self.slots if slot is not None]

    @property
    def done(self) -> int:
        return sum(self.outcomes.values())

    @property
    def total(self) -> int:
        return self.done + len(self.active) + len(self.suspended) + sum(self.left.values())

    def framework_of(self, run: str) -> str:
        """Return the framework of a run under way, empty if it is not."""
        return next((slot.framework for slot in self.active if slot.run == run), "")

    def tell(self, event: Event) -> None:
        """Fold one event in; events of runs that are not under way change nothing but the totals."""
        match event:
            case RunStarted():
                self._place(event)
            case StepStarted():
                self._begin(event)
            case OutputLine():
                self._change(event.run, line=event.line)
            case ModelCalled():
                self._count(event)
            case StepFinished():
                self._end(event)
            case RunSuspended():
                self._suspend(event)
            case RunFinished():
                self._finish(event)
            case _:
                pass

    def eta(self, now: float) -> tuple[float | None, bool]:
        """Estimate how long everything left will take, from finished runs of the same framework and scenario.

        A run is expected to take the mean of those that finished; the work left is divided by the slots, and is at
        least as long as the longest run under way still needs.

        Returns:
            Seconds, or None while nothing has finished; and whether every kind that is left has been seen, that is,
            whether the number is more than a lower bound.
        """
        means = {kind: fmean(values) for kind, values in self.seconds.items()}
        if not means:
            return None, False
        rest = [max(means.get(slot.kind, 0.0) - (now - slot.started), 0.0) for slot in self.active]
        waiting = sum(means.get(kind, 0.0) * number for kind, number in self.left.items())
        kinds = {slot.kind for slot in self.active} | {kind for kind, number in self.left.items() if number}
        return max((sum(rest) + waiting) / max(self.jobs, 1), *rest, 0.0), kinds <= means.keys()

    def _place(self, event: RunStarted) -> None:
        slot = Slot(
            run=event.run,
            framework=event.framework,
            scenario=event.scenario,
            started=event.time,
            steps_total=event.steps_total,
            ended=event.steps_done,
        )
        if event.run in self.suspended:
            self.suspended.discard(event.run)
        else:
            self.left[slot.kind] = max(self.left[slot.kind] - 1, 0)
        free = next((i for i, one in enumerate(self.slots) if one is None), None)
        if free is None:
            self.slots.append(slot)
        else:
            self.slots[free] = slot

    def _begin(self, event: StepStarted) -> None:
        for slot in self._of(event.run):
            under_way = (*slot.under_way, event.step)
            self._change(event.run, step=event.step, index=event.index, under_way=under_way, line="")

    def _end(self, event: StepFinished) -> None:
        for slot in self._of(event.run):
            under_way = tuple(step for step in slot.under_way if step != event.step)
            self._change(event.run, under_way=under_way, ended=slot.ended + 1, line="")

    def _suspend(self, event: RunSuspended) -> None:
        self.suspended.add(event.run)
        self.slots = [None if slot is not None and slot.run == event.run else slot for slot in self.slots]

    def _of(self, run: str) -> list[Slot]:
        return [slot for slot in self.active if slot.run == run]

    def _change(self, run: str, **changes: str | float | tuple[str, ...] | Use) -> None:
        for i, slot in enumerate(self.slots):
            if slot is not None and slot.run == run:
                self.slots[i] = replace(slot, **changes)  # type: ignore[arg-type]  # names and types are the fields'

    def _count(self, event: ModelCalled) -> None:
        self.use = self.use.plus(event)
        for slot in self._of(event.run):
            self._change(event.run, use=slot.use.plus(event))

    def _finish(self, event: RunFinished) -> None:
        self.outcomes[event.outcome] += 1
        for i, slot in enumerate(self.slots):
            if slot is not None and slot.run == event.run:
                self.slots[i] = None
                if event.outcome in FINAL_OUTCOMES:
                    self.seconds.setdefault(slot.kind, []).append(event.seconds)


def begin(
    kinds: Iterable[Kind], *, jobs: int, now: float, history: Mapping[Kind, Iterable[float]] | None = None
) -> Progress:
    """Return the progress of an invocation that is about to start.

    Args:
        kinds: framework and scenario of each run that will be carried out.
        jobs: how many run at the same time.
        now: seconds since the epoch.
        history: wall times of runs finished by earlier invocations, for the estimate.
    """
    seconds = {kind: list(values) for kind, values in (history or {}).items()}
    return Progress(started=now, left=Counter(kinds), jobs=jobs, seconds={k: v for k, v in seconds.items() if v})
