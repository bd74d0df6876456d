"""One run's way through its steps: what is decided, performed and written down for each of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace

from runner.errors import RunnerError, one_line
from runner.events import Notice, StepFinished
from runner.evidence.layout import RunLayout
from runner.evidence.records import StepRecord, Suspension
from runner.execution import approvals
from runner.execution.conditions import left_out, question, without_input
from runner.execution.context import MOST_SPENT, Context, now, release
from runner.execution.graph import Consideration
from runner.execution.slots import Turn
from runner.execution.step import (
    StepDone,
    StepOrder,
    break_step,
    cancel_step,
    decided_step,
    fail_step,
    perform_step,
    skip_step,
    spoil_step,
)
from runner.execution.story import Clock, Story, write_step
from runner.execution.values import Unusable, Values
from runner.execution.workspaces import MergeConflict, Workspaces
from runner.plan.models import PlannedStep, Run
from runner.plan.schedule import Verdict, verdict_of

_REDONE = frozenset({"broken", "cancelled"})
"""Outcomes after which the whole run is carried out again, so that no person is to be waited for."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """Considers, performs and skips the steps of one run; see `graph.Hands`."""

    context: Context
    run: Run
    workspaces: Workspaces
    story: Story
    clock: Clock
    save: Callable[[], None]
    """Brings the run's record on disk up to date; called by one thread at a time."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Of the story and of what is written."""

    @property
    def layout(self) -> RunLayout:
        return self.context.layout(self.run)

    def consider(self, step: PlannedStep) -> Consideration:
        """Say whether a step's conditions let it begin, and what was decided on an approval."""
        values = self._values()
        if step.id not in self.story.asked:
            if reason := left_out(step, values):
                return self._end(step, skip_step(self.run, step, reason, counts=False), left_out=True)
            if found := without_input(step, values):
                reason, counts = found
                return self._end(step, skip_step(self.run, step, reason, counts=counts))
        return self._decide(step, values) if step.kind == "approval" else "perform"

    def perform(self, step: PlannedStep, turn: Turn | None) -> Verdict:
        """Give a step its place, perform it, and take what it left."""
        started = time.monotonic()
        with self.lock:
            self.story.under_way.add(step.id)
        if self.context.cancellation.cancelled:
            # The user waits, and what a step works on may take long to make ready.
            return self._end_early(step, cancel_step(self.run, step), started)
        try:
            place = self.workspaces.enter(step)
        except MergeConflict as conflict:
            return self._end_early(step, fail_step(self.run, step, str(conflict), conflicts=conflict.paths), started)
        except (RunnerError, OSError) as error:
            self._break(step, break_step(self.run, step, one_line(error)))
            raise
        order = StepOrder(
            context=self.context,
            run=self.run,
            step=step,
            place=place,
            again=lambda: self.workspaces.again(step),
            values=self._values(),
            remaining=self.clock.remaining,
            resting=turn.released if turn is not None else nullcontext,
        )
        with self.clock.running():
            done = perform_step(order)
        if turn is not None:
            # What is left to do needs no container.
            turn.give_back()
        if len(self.context.spent) >= MOST_SPENT:
            release(self.context)
        try:
            found = self.workspaces.leave(step, done.tree, done.record)
        except (RunnerError, OSError) as error:
            self._break(step, spoil_step(done, one_line(error)))
            raise
        return self._end(step, replace(done, notes=(*done.notes, *found)))

    def skip(self, step: PlannedStep, cause: str, *, counts: bool) -> Verdict:
        """Skip a step that waited for another in vain."""
        return self._end(step, skip_step(self.run, step, f"step {cause} did not pass", counts=counts))

    def _values(self) -> Values:
        with self.lock:
            records: Mapping[str, StepRecord] = {name: one.record for name, one in self.story.done.items()}
        return Values(self.layout, self.run, records)

    def _decide(self, step: PlannedStep, values: Values) -> Consideration:
        """Ask a person, or look whether one has answered."""
        spoilt = self._spoilt()
        if spoilt:
            return self._end(step, skip_step(self.run, step, f"step {spoilt} did not pass: nobody is asked"))
        asked = self.story.asked.get(step.id)
        if asked is None:
            try:
                message = question(step, values)
            except Unusable as error:
                return self._end(step, fail_step(self.run, step, str(error)))
            asked = approvals.ask(self.run, step, message, now())
            approvals.post(self.layout, asked)
            # One line of a log, whatever the message's lines are.
            words = f"step {step.id} waits for approval: {' '.join(message.split())}"
            self.context.events(Notice(time=now(), run=self.run.id, text=words))
        decision = approvals.decided(self.layout, asked, now())
        if decision is None:
            self._wait_for(asked)
            return "wait"
        done = decided_step(self.run, step, decision)
        self._tell(done, 0.0)
        return self._end(step, done)

    def _wait_for(self, asked: Suspension) -> None:
        with self.lock:
            self.story.asked[asked.step] = asked

    def _spoilt(self) -> str:
        """Return a step because of which the whole run is carried out again; empty if there is none."""
        with self.lock:
            return next((name for name, one in self.story.done.items() if one.record.outcome in _REDONE), "")

    def _end_early(self, step: PlannedStep, done: StepDone, started: float) -> Verdict:
        self._tell(done, time.monotonic() - started)
        return self._end(step, done)

    def _end(self, step: PlannedStep, done: StepDone, *, left_out: bool = False) -> Verdict:
        """Take down what a step came to, and say what it means for the others."""
        verdict = verdict_of(step, done.record.outcome, counts=done.record.counts, left_out=left_out)
        if verdict.counts != done.record.counts:
            done = replace(done, record=done.record.model_copy(update={"counts": verdict.counts}))
        with self.lock:
            self.story.asked.pop(step.id, None)
            self.story.under_way.discard(step.id)
            self.story.done[step.id] = done
            write_step(self.layout, done)
            self.save()
        return verdict

    def _break(self, step: PlannedStep, done: StepDone) -> None:
        """Take down what is known of a step that we broke in; if even that cannot be written, the first error counts."""
        with suppress(RunnerError, OSError):
            self._end(step, done)
        with self.lock:
            self.story.under_way.add(step.id)

    def _tell(self, done: StepDone, seconds: float) -> None:
        """Announce the end of a step that nobody else announces."""
        step = done.record
        self.context.events(
            StepFinished(
                time=now(),
                run=self.run.id,
                step=step.id,
                index=step.index,
                outcome=step.outcome,
                reason=step.reason,
                seconds=seconds,
            )
        )
