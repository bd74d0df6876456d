"""Carry out planned runs: lease, settle what a crash left, perform, record in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from runner.engine.admission import require_space
from runner.events import Notice
from runner.evidence.layout import RunLayout
from runner.evidence.measures.again import newest_totals
from runner.evidence.records import RunRecord
from runner.execution.approvals import decided
from runner.execution.breaker import Breaker
from runner.execution.context import Context, now, release
from runner.execution.control import Control
from runner.execution.executors.protocol import Executor
from runner.execution.recovery import discard, read_record, settle
from runner.execution.resume import at_work, cut_off, reload
from runner.execution.run import RunDone, perform_run
from runner.execution.step import MOST_INTERRUPTED
from runner.ledger.store import Ledger
from runner.plan.models import Run


def carry_out(
    context: Context,
    runs: Sequence[Run],
    ledger: Ledger,
    executor: Executor,
    *,
    fresh: bool = False,
    control: Control | None = None,
    breaker: Breaker | None = None,
) -> Iterator[RunDone]:
    """Perform the runs and yield each as it ends or is suspended, once it is on disk and in the ledger.

    Runs of which a dead runner left containers at work go first, all at once.

    A suspended run holds neither a slot nor a thread. Those that somebody has answered meanwhile go on when all others
    have ended; the rest is left to the next invocation.

    Args:
        context: shared hands.
        runs: what to perform, in order.
        ledger: where each is leased and recorded.
        executor: who decides which goes next, and where.
        fresh: perform runs that have a final record too, keeping the old one aside.
        control: who may stop single runs from elsewhere; None for nobody.
        breaker: says when nothing more is to begin because runs break for the same reason; by default nothing does.

    Raises:
        StorageError: if the disk is nearly full or cannot be written; runs under way are finished first.
    """
    ledger.register(runs, context.output)
    left = {run.digest: names for run in runs if not fresh and (names := at_work(context, run))}
    errand = _Errand(context=context, ledger=ledger, fresh=fresh, control=control, breaker=breaker or Breaker())
    try:
        # Containers that run are all looked after, even if there are more of them than are to run at once from now on.
        context.slots.expect([name for names in left.values() for name in names])
        waiting: Sequence[Run] = sorted(runs, key=lambda run: run.digest not in left)
        at_once = len(left)
        while waiting:
            suspended = []
            for done in executor.map(errand.perform, waiting, at_once=at_once):
                if done is not None:
                    suspended += [done.record] if done.record.outcome is None else []
                    yield done
            waiting = [record.run for record in suspended if answered(context.layout(record.run), record)]
            waiting, at_once = [] if context.cancellation.cancelled else waiting, 0
    finally:
        release(context)


@dataclass(frozen=True, kw_only=True)
class _Errand:
    """What the runs of one call have in common."""

    context: Context
    ledger: Ledger
    fresh: bool
    control: Control | None
    breaker: Breaker
    begun: set[str | None] = field(default_factory=set)

    def perform(self, run: Run) -> RunDone | None:
        """Perform one run and record it; None if it is not to begin now, or is somebody else's."""
        try:
            return self._perform(run)
        finally:
            _expect_no_more(self.context, run)

    def _perform(self, run: Run) -> RunDone | None:
        context, ledger = self.context, self.ledger
        # A pause holds back what is new; a container that a dead runner left is looked after all the same.
        pass_gate = context.gate.reach if at_work(context, run) else context.gate.pass_
        pass_gate(context.cancellation, context.events)
        if self.breaker.why or context.cancellation.cancelled:
            return None
        require_space(context.output)
        # What was done just now is not done afresh a second time.
        anew = self.fresh and run.digest not in self.begun
        resumable = None if anew else _suspended(context.layout(run))
        if resumable is not None and not answered(context.layout(run), resumable):
            return None
        if self.control is not None and self.control.unwanted(run):
            return None
        lease = ledger.lease(run, context.owner)
        if lease is None:
            return None
        self.begun.add(run.digest)
        with _steered(context, self.control, run) as own:
            done = _go_on(own, run, resumable) if resumable is not None else _begin(own, run, fresh=anew)
            done = _made_up_for(own, done)
            if done.record.outcome is None:
                ledger.suspend(lease, done.record)
            else:
                ledger.finish(lease, done.record, done.totals)
        if self.breaker.count(done.record):
            text = f"stopped: {self.breaker.why}; no further run begins"
            context.events(Notice(time=now(), text=text, level="error"))
        return done


def answered(layout: RunLayout, record: RunRecord) -> bool:
    """Say whether a suspended run can go on: somebody has decided on one of its questions, or its time is up.

    Raises:
        StorageError: if a decision cannot be read.
    """
    return any(decided(layout, one, now()) is not None for one in record.suspended)


@contextmanager
def _steered(context: Context, control: Control | None, run: Run) -> Iterator[Context]:
    """Yield the hands of one run, which can be stopped alone."""
    if control is None:
        yield context
        return
    with control.steering(run, context.cancellation) as switch:
        yield replace(context, cancellation=switch)


def _suspended(layout: RunLayout) -> RunRecord | None:
    """Return the record of a run that was suspended; None of any other."""
    record = read_record(layout)
    return record if record is not None and record.outcome is None and record.suspended else None


def _go_on(context: Context, run: Run, record: RunRecord) -> RunDone:
    return perform_run(context, run, reload(context, context.layout(run), record))


def _made_up_for(context: Context, done: RunDone) -> RunDone:
    """Perform a run again that broke because the engine was away or ended, when the engine is back; not for ever."""
    run = done.record.run
    for number in range(1, MOST_INTERRUPTED + 1):
        if not done.interrupted:
            break
        context.gate.pass_(context.cancellation, context.events)
        if context.cancellation.cancelled:
            break
        text = f"it is done again: {done.record.reason}"
        context.events(Notice(time=now(), run=run.id, text=text, level="warning"))
        kept = f"try {number} of this run broke, does not count and is kept aside: {done.record.reason}"
        done = _begin(context, run, fresh=False, notes=(kept,))
    return done


def _expect_no_more(context: Context, run: Run) -> None:
    """Have containers of a run that were there, and were not taken up, keep no others from beginning."""
    beginning = context.object_name(run)
    context.slots.expect_no_more(lambda name: name.startswith(beginning))


def _begin(context: Context, run: Run, *, fresh: bool, notes: Sequence[str] = ()) -> RunDone:
    """Perform a run, unless a crash kept its final record out of the ledger; clear the way for it."""
    layout = context.layout(run)
    if not fresh and (resumed := cut_off(context, run)) is not None:
        return perform_run(context, run, resumed, notes=notes)
    _expect_no_more(context, run)
    discard(context, layout)
    record = settle(layout, context.output, context.owner.boot, fresh=fresh)
    if record is not None:
        return RunDone(record=record, totals=newest_totals(layout))
    return perform_run(context, run, notes=notes)
