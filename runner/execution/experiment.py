"""Carry out planned runs: lease, settle what a crash left, perform, record in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.engine.admission import require_space
from runner.evidence.layout import RunLayout
from runner.evidence.metrics import read_totals
from runner.evidence.records import RunRecord
from runner.execution.approvals import decided
from runner.execution.context import Context, now, release
from runner.execution.executors.protocol import Executor
from runner.execution.recovery import read_record, settle
from runner.execution.resume import reload
from runner.execution.run import RunDone, perform_run
from runner.ledger.store import Ledger
from runner.plan.models import Run


def carry_out(
    context: Context, runs: Sequence[Run], ledger: Ledger, executor: Executor, *, fresh: bool = False
) -> Iterator[RunDone]:
    """Perform the runs and yield each as it ends or is suspended, once it is on disk and in the ledger.

    A suspended run holds neither a slot nor a thread. Those that somebody has answered meanwhile go on when all others
    have ended; the rest is left to the next invocation.

    Args:
        context: shared hands.
        runs: what to perform, in order.
        ledger: where each is leased and recorded.
        executor: who decides which goes next, and where.
        fresh: perform runs that have a final record too, keeping the old one aside.

    Raises:
        StorageError: if the disk is nearly full or cannot be written; runs under way are finished first.
    """
    ledger.register(runs, context.output)
    begun: set[str | None] = set()

    def one(run: Run) -> RunDone | None:
        require_space(context.output)
        # What was done just now is not done afresh a second time.
        anew = fresh and run.digest not in begun
        resumable = None if anew else _suspended(context.layout(run))
        if resumable is not None and not answered(context.layout(run), resumable):
            return None
        lease = ledger.lease(run, context.owner)
        if lease is None:
            return None
        begun.add(run.digest)
        done = _go_on(context, run, resumable) if resumable is not None else _begin(context, run, fresh=anew)
        if done.record.outcome is None:
            ledger.suspend(lease, done.record)
        else:
            ledger.finish(lease, done.record, done.totals)
        return done

    try:
        waiting = runs
        while waiting:
            suspended = []
            for done in executor.map(one, waiting):
                if done is not None:
                    suspended += [done.record] if done.record.outcome is None else []
                    yield done
            waiting = [record.run for record in suspended if answered(context.layout(record.run), record)]
            waiting = [] if context.cancellation.cancelled else waiting
    finally:
        release(context)


def answered(layout: RunLayout, record: RunRecord) -> bool:
    """Say whether a suspended run can go on: somebody has decided on one of its questions, or its time is up.

    Raises:
        StorageError: if a decision cannot be read.
    """
    return any(decided(layout, one, now()) is not None for one in record.suspended)


def _suspended(layout: RunLayout) -> RunRecord | None:
    """Return the record of a run that was suspended; None of any other."""
    record = read_record(layout)
    return record if record is not None and record.outcome is None and record.suspended else None


def _go_on(context: Context, run: Run, record: RunRecord) -> RunDone:
    return perform_run(context, run, reload(context, context.layout(run), record))


def _begin(context: Context, run: Run, *, fresh: bool) -> RunDone:
    """Perform a run, unless a crash kept its final record out of the ledger; clear the way for it."""
    layout = context.layout(run)
    record = settle(layout, context.output, fresh=fresh)
    if record is not None:
        return RunDone(record=record, totals=read_totals(layout.metrics))
    return perform_run(context, run)
