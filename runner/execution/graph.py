"""Carry out a graph of steps: whatever is ready runs, as far as slots allow. Knows no containers, files or models."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Literal, Protocol

from runner.execution.cancellation import Cancellation
from runner.execution.slots import Slots, Turn
from runner.plan.models import PlannedStep
from runner.plan.schedule import Schedule, Verdict

Consideration = Verdict | Literal["perform", "wait"]
"""What becomes of a step that can begin: over already, to be performed, or waiting for something outside."""

_MOST_CONTAINERS = 64
"""Threads of one run that wait for a container, where the slots do not say."""
_MOST_CALLS = 16
"""Steps of one run that work without a container, and so without a slot, at once."""
_LOOK_AGAIN = 1.0
"""Seconds after which steps that wait for something outside are considered again while others are under way."""


class Hands(Protocol):
    """What is done with a step; each method takes what became of it down before it returns."""

    def consider(self, step: PlannedStep) -> Consideration:
        """Say what becomes of a step that can begin; asked again about one that waits. One call at a time."""

    def begun_before(self, step: PlannedStep) -> str:
        """Return the container in which an earlier runner began it, which may be there; empty if there was none.

        Such a step waits for no slot. Asked often.
        """

    def perform(self, step: PlannedStep, turn: Turn | None) -> Verdict:
        """Perform a step to its end; several at a time, each in a thread of its own.

        Args:
            step: the step.
            turn: the slot held for its container, to be given back early where it is not needed; None without one.
        """

    def skip(self, step: PlannedStep, cause: str, *, counts: bool) -> Verdict:
        """Skip a step that cannot begin because of another. One call at a time."""


def contained(step: PlannedStep) -> bool:
    """Say whether a step runs in a container, and so needs a slot."""
    return step.kind not in {"model", "approval"}


def drive(schedule: Schedule, hands: Hands, slots: Slots, cancellation: Cancellation, *, inline: bool) -> None:
    """Carry out every step that can be; returns when all have ended, or nothing but what waits outside is left.

    Args:
        schedule: the steps, those that have ended before included.
        hands: what is done with a step.
        slots: of the experiment; a step is chosen only when a slot is there, so that the first ready one gets it.
        cancellation: ends waiting for slots.
        inline: work in the caller's thread, one step after the other.

    Raises:
        Exception: what `hands` raised first. Nothing more has begun since, what was under way has ended, and the steps
            that raised are under way still.
    """
    crew = _Crew(schedule, hands, slots, cancellation)
    crew.sort_out()
    crew.forget_unready()
    if inline:
        _one_by_one(crew)
    else:
        _side_by_side(crew)


def _one_by_one(crew: _Crew) -> None:
    while True:
        crew.sort_out()
        step = crew.first()
        if step is None:
            return
        if crew.waits_for_slot(step):
            crew.work()
        else:
            crew.call(step)


def _side_by_side(crew: _Crew) -> None:
    workers: set[Future[None]] = set()
    with ThreadPoolExecutor(crew.most_workers + _MOST_CALLS + crew.begun, thread_name_prefix="step") as pool:
        try:
            while True:
                crew.sort_out()
                calls, wanted = crew.next()
                workers |= {pool.submit(crew.call, step) for step in calls}
                workers |= {pool.submit(crew.work) for _ in range(wanted)}
                if not workers:
                    return
                ended, workers = wait(workers, _LOOK_AGAIN if crew.holds else None, FIRST_COMPLETED)
                for one in ended:
                    one.result()
        finally:
            crew.close()


class _Crew:
    """The threads of one run, and the schedule they share."""

    def __init__(self, schedule: Schedule, hands: Hands, slots: Slots, cancellation: Cancellation) -> None:
        self._schedule = schedule
        self._hands = hands
        self._slots = slots
        self._cancellation = cancellation
        self._lock = threading.Lock()
        """Of everything below, and of the schedule."""
        self._cleared: set[str] = set()
        """Steps that may begin: what can be said without performing them has been said."""
        self._workers = 0
        """Threads that have, or will look for, a contained step."""
        self._idle = 0
        """Those among them that have none yet, because they wait for a slot."""
        self._calls = 0
        self._closed = False
        self.most_workers = slots.count or _MOST_CONTAINERS
        self._left = {step.id for step in schedule.steps if hands.begun_before(step)}
        """Steps whose containers an earlier runner began, and that nobody has taken up."""
        self.begun = len(self._left)

    @property
    def holds(self) -> bool:
        """Whether some step waits for something outside."""
        with self._lock:
            return bool(self._schedule.held)

    def close(self) -> None:
        """Have nothing more begin."""
        with self._lock:
            self._closed = True

    def sort_out(self) -> None:
        """Settle what needs no performing: steps that cannot begin, are left out, or wait for something outside."""
        for step in self._held():
            self._settle(step, self._hands.consider(step))
        while True:
            with self._lock:
                doomed = [(step, cause, self._schedule.verdict(cause)) for step, cause in self._schedule.doomed()]
                fresh = [step for step in self._schedule.ready() if step.id not in self._cleared]
            if not doomed and not fresh:
                return
            for step, cause, verdict in doomed:
                self._settle(step, self._hands.skip(step, cause, counts=verdict.counts))
            for step in fresh:
                self._settle(step, self._hands.consider(step))

    def waits_for_slot(self, step: PlannedStep) -> bool:
        """Say whether a step is to begin in a container, and not goes on in one or does without."""
        return contained(step) and not self._hands.begun_before(step)

    def forget_unready(self) -> None:
        """Have containers of an earlier runner keep nothing from beginning if their steps cannot be taken up at once."""
        with self._lock:
            ready = {step.id for step in self._schedule.ready() if step.id in self._cleared}
        left = {self._hands.begun_before(step) for step in self._schedule.steps if step.id not in ready}
        self._slots.expect_no_more(left.__contains__)

    def first(self) -> PlannedStep | None:
        """Return the step that goes next; one that waits for no slot is under way from here on."""
        with self._lock:
            step = next((one for one in self._schedule.ready() if one.id in self._cleared), None)
            if step is not None and not self.waits_for_slot(step):
                self._begin_call(step)
            return step

    def next(self) -> tuple[list[PlannedStep], int]:
        """Return what goes now: steps that wait for no slot, and how many more threads are to look for one that does.

        All whose containers an earlier runner began are among the former, whatever room there is: they run. The former are
        under way and the latter counted from here on. A contained step comes before a later one without a container where
        the run has room for one only, but does not keep it waiting for want of a slot.
        """
        calls: list[PlannedStep] = []
        with self._lock:
            for step in self._schedule.ready() if self._left else ():
                if step.id in self._cleared and step.id in self._left:
                    self._begin_call(step)
                    calls.append(step)
            room, wanted = self._schedule.room, 0
            most = self.most_workers - (self._workers - self._idle)
            for step in self._schedule.ready():
                if room <= 0:
                    break
                if step.id not in self._cleared or (wanted >= most if contained(step) else self._calls >= _MOST_CALLS):
                    continue
                room -= 1
                if contained(step):
                    wanted += 1
                else:
                    self._begin_call(step)
                    calls.append(step)
            more = max(wanted - self._idle, 0)
            self._workers += more
            self._idle += more
        return calls, more

    def _begin_call(self, step: PlannedStep) -> None:
        self._schedule.begin(step.id)
        self._left.discard(step.id)
        self._calls += not contained(step)

    def call(self, step: PlannedStep) -> None:
        """Perform a step that waits for no slot: it needs none, or its container is there."""
        if contained(step):
            with self._slots.one(self._cancellation, there=self._hands.begun_before(step)) as turn:
                verdict = self._perform(step, turn)
        else:
            verdict = self._perform(step, None)
        with self._lock:
            self._calls -= not contained(step)
            self._schedule.end(step.id, verdict)

    def work(self) -> None:
        """Wait for a slot, and perform the first contained step that can begin then, if there is one."""
        with self._slots.one(self._cancellation) as turn:
            step = self._take()
            verdict = None if step is None else self._perform(step, turn)
        with self._lock:
            self._workers -= 1
            if step is not None and verdict is not None:
                self._schedule.end(step.id, verdict)

    def _perform(self, step: PlannedStep, turn: Turn | None) -> Verdict:
        verdict: Verdict | None = None
        try:
            verdict = self._hands.perform(step, turn)
            return verdict
        finally:
            if verdict is None:
                # Before its slot is free again, so that no other thread begins a step meanwhile.
                self.close()

    def _take(self) -> PlannedStep | None:
        with self._lock:
            self._idle -= 1
            ready = (step for step in self._schedule.ready() if step.id in self._cleared and contained(step))
            step = None if self._closed or not self._schedule.room else next(ready, None)
            if step is not None:
                self._schedule.begin(step.id)
            return step

    def _held(self) -> tuple[PlannedStep, ...]:
        with self._lock:
            return self._schedule.held

    def _settle(self, step: PlannedStep, found: Consideration) -> None:
        with self._lock:
            if isinstance(found, Verdict):
                self._schedule.end(step.id, found)
            elif found == "perform":
                self._cleared.add(step.id)
            elif step not in self._schedule.held:
                self._schedule.hold(step.id)
