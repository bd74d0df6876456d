"""Carry out planned runs: lease, settle what a crash left, perform, record in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.engine.admission import require_space
from runner.evidence.metrics import read_totals
from runner.execution.context import Context, release
from runner.execution.executors.protocol import Executor
from runner.execution.recovery import settle
from runner.execution.run import RunDone, perform_run
from runner.ledger.store import Ledger
from runner.plan.models import Run

_SPENT = 64
"""Finished attempts after which their cgroups are removed, before the end of the experiment."""


def carry_out(
    context: Context, runs: Sequence[Run], ledger: Ledger, executor: Executor, *, fresh: bool = False
) -> Iterator[RunDone]:
    """Perform the runs and yield each as it ends, once it is on disk and in the ledger.

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

    def one(run: Run) -> RunDone | None:
        require_space(context.output)
        lease = ledger.lease(run, context.owner)
        if lease is None:
            return None
        done = _settled(context, run, fresh=fresh) or perform_run(context, run)
        ledger.finish(lease, done.record, done.totals)
        if len(context.spent) >= _SPENT:
            release(context)
        return done

    try:
        yield from (done for done in executor.map(one, runs) if done is not None)
    finally:
        release(context)


def _settled(context: Context, run: Run, *, fresh: bool) -> RunDone | None:
    """Return a run whose final record a crash kept out of the ledger; clear the way for any other."""
    layout = context.layout(run)
    record = settle(layout, context.output, fresh=fresh)
    return RunDone(record=record, totals=read_totals(layout.metrics)) if record is not None else None
