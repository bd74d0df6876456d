"""One run's way through its steps: what is decided, performed and written down for each of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from runner.errors import RunnerError, one_line
from runner.events import Notice, StepFinished
from runner.evidence.layout import RunLayout
from runner.evidence.records import StepRecord, Suspension
from runner.execution import approvals
from runner.execution.adopt import TakenUp, take_up
from runner.execution.begun import Begun
from runner.execution.conditions import left_out, question, without_input
from runner.execution.container import container_name
from runner.execution.context import MOST_SPENT, Context, now, release
from runner.execution.graph import Consideration
from runner.execution.place import Unrestorable
from runner.execution.slots import Turn
from runner.execution.step import (
    Devices,
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
from runner.execution.turns import reserved
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
    begun: Mapping[str, Begun] = field(default_factory=dict)
    """What a runner that has ended had under way, by step."""
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

    def begun_before(self, step: PlannedStep) -> str:
        """Return the container in which a runner that has ended began it; empty if there was none."""
        return self.begun[step.id].container if step.id in self.begun else ""

    def perform(self, step: PlannedStep, turn: Turn | None) -> Verdict:
        """Give a step its place, perform it, and take what it left."""
        started = time.monotonic()
        with self.lock:
            self.story.under_way.add(step.id)
        if self.context.cancellation.cancelled and step.id not in self.begun:
            # The user waits, and what a step works on may take long to make ready.
            return self._end_early(step, cancel_step(self.run, step, self.context.cancellation.why), started)
        try:
            found = self._enter(step)
        except MergeConflict as conflict:
            return self._end_early(step, fail_step(self.run, step, str(conflict), conflicts=conflict.paths), started)
        except Unrestorable as error:
            done = break_step(self.run, step, f"the runner ended, and {error.what}")
            return self._end_early(step, replace(done, interrupted=True), started)
        except (RunnerError, OSError) as error:
            self._break(step, break_step(self.run, step, one_line(error)))
            raise
        self.clock.take_up(found.used)
        order = StepOrder(
            # While a call waits for the engine to come back the run's time stands still.
            context=replace(self.context, gate=self.context.gate.beside(self.clock.paused)),
            run=self.run,
            step=step,
            place=found.place,
            left=found.left,
            earlier=found.earlier,
            again=lambda: self.workspaces.again(step),
            values=self._values(),
            remaining=self.clock.remaining,
            resting=turn.released if turn is not None else nullcontext,
            turn=partial(self._turn, step, turn) if turn is not None else self._call_turn,
        )
        with self.clock.running():
            done = perform_step(order)
        if turn is not None:
            # What is left to do needs no container.
            turn.give_back()
        if len(self.context.spent) >= MOST_SPENT:
            release(self.context)
        try:
            notes = self.workspaces.leave(step, done.tree, done.record)
        except (RunnerError, OSError) as error:
            self._break(step, spoil_step(done, one_line(error)))
            raise
        return self._end(step, replace(done, notes=(*done.notes, *notes)))

    def _enter(self, step: PlannedStep) -> TakenUp:
        """Give a step its place, or the one that it had when an earlier runner ended."""
        begun = self.begun.get(step.id)
        if begun is None:
            return TakenUp(place=self.workspaces.enter(step))
        return take_up(self.context, self.run, step, begun, self.workspaces)

    @contextmanager
    def _turn(self, step: PlannedStep, turn: Turn, number: int, running: Devices | None) -> Iterator[Devices]:
        """Hold what an attempt's container needs; waiting for that takes nothing of the run's time."""
        name = container_name(self.context, self.run, step, number)
        with ExitStack() as held:
            with self.clock.paused():
                if running is None:
                    turn.settle()
                    self.context.gate.pass_(self.context.cancellation, self.context.events)
                gpus = held.enter_context(reserved(self.context, self.run, step, name, running=running))
            yield gpus

    @contextmanager
    def _call_turn(self, _number: int, _running: Devices | None) -> Iterator[Devices]:
        """Hold back a call of the model, which needs no container, while nothing new is to begin."""
        with self.clock.paused():
            self.context.gate.pass_(self.context.cancellation, self.context.events)
        yield ()

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
            self.story.interrupted |= done.interrupted and verdict.counts
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
