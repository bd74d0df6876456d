"""Give up a run that was cut off, instead of going on with it: its evidence is kept, and it ends as cancelled."""

from __future__ import annotations

from pathlib import Path

from runner.engine.owner import Owner
from runner.engine.protocol import Engine
from runner.errors import StorageError
from runner.evidence.layout import RunLayout
from runner.evidence.measures.again import newest_totals
from runner.evidence.records import RunRecord
from runner.execution.cancellation import BY_USER
from runner.execution.closing import complete, finalise
from runner.execution.recovery import remove_objects
from runner.gateway.leftovers import forget
from runner.ledger.store import Ledger


def cancel_cut_off(
    engine: Engine, ledger: Ledger, me: Owner, layout: RunLayout, record: RunRecord, *, runtime: Path
) -> RunRecord:
    """End a run whose runner has ended before it did; hold its folder of runs meanwhile.

    Its containers are stopped and collected first, and removed only then: whoever is killed in the middle of this leaves a
    run that is still cut off, or one that is cancelled.

    Args:
        engine: where its containers are.
        ledger: the folder's.
        me: this process.
        layout: where the run is.
        record: its record, without an outcome.
        runtime: where gateways have their folders: what still answers the run's calls is closed.

    Returns:
        The record as it is now.

    Raises:
        EngineError: if the engine refuses; nothing is final then.
        StorageError: if something cannot be kept, or the ledger does not know the run.
    """
    lease = ledger.lease(record.run, me)
    if lease is None:
        raise StorageError(
            f"{record.run.id} is held by a process that still runs", hint="runner runs   shows what is under way"
        )
    forget(runtime, layout.calls)
    spent: list[str] = []
    remove_objects(engine, me, layout, spent)
    final = finalise(layout, record, "cancelled", BY_USER)
    complete(layout, final)
    ledger.finish(lease, final, newest_totals(layout))
    engine.observer.release(spent)
    return final
