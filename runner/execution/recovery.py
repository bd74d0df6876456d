"""After a crash: keep the evidence of what a dead owner left in the engine, then remove it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from runner.engine.cgroup import CGROUP_ROOT, find_parents, find_stale_parents, is_of
from runner.engine.owner import Owner
from runner.engine.protocol import ContainerState, Engine
from runner.engine.sweep import Found, Swept, sweep
from runner.errors import EngineError, StorageError
from runner.evidence.atomic import remove_leftovers, write_json, write_text
from runner.evidence.copying import remove_tree
from runner.evidence.layout import RunLayout
from runner.evidence.logs import collect_logs
from runner.evidence.metrics import (
    read_totals,
    run_metrics,
    write_metrics,
)
from runner.evidence.metrics_table import write_table
from runner.evidence.readme import render_readme
from runner.evidence.records import Outcome, RunRecord, StepRecord
from runner.evidence.superseded import set_aside
from runner.evidence.tree import make_collectable, scan
from runner.execution.begun import Begun, Collected, write_collected
from runner.execution.claim import claim
from runner.execution.contain import Ended
from runner.execution.context import Context, iso, now
from runner.execution.left import NEVER_STARTED
from runner.execution.resume import ended_steps, goes_on, read_record, step_report, under_way
from runner.execution.run import seal
from runner.ledger.store import Ledger
from runner.names import LABEL_CGROUP, LABEL_DEADLINE, LABEL_KIND, LABEL_RUN_DIR, LABEL_STEP
from runner.plan.resume import is_final
from runner.spec.models import Limits

__all__ = ["discard", "finish_interrupted", "read_record", "settle", "stale_cgroups", "sweep_dead"]

_GRACE = 5.0
"""Seconds between the polite signal and the kill for a container whose run is begun anew."""
_INTERRUPTED = "interrupted: the runner ended before the run did"
_SEVERAL = 2
"""From so many steps under way at once the record names them: of one it is the one after the last."""


def sweep_dead(engine: Engine, me: Owner, cgroups: Path = CGROUP_ROOT, output: Path | None = None) -> Swept:
    """Collect, then remove, what dead runners of this user left in the engine; everyone else's is left alone.

    What belongs to a run that goes on stays: its volumes, and the containers that run. Of a container that has exited
    everything is kept on disk first. In other folders of runs nothing is done while a runner is at work there.

    Args:
        engine: where to sweep.
        me: the asking process.
        cgroups: where the cgroup file system is.
        output: folder of runs that this process holds; None for none.

    Raises:
        EngineError: if the engine cannot be asked.
    """
    with ExitStack() as stack:
        places = _Places(me, output, stack)
        swept = sweep(engine, me, collect=lambda state: _collect(engine, me, state), spare=places.spares)
    stale = stale_cgroups(engine, cgroups)
    try:
        engine.observer.release(stale)
    except EngineError as error:
        return dataclasses.replace(swept, kept=(*swept.kept, ("an empty control group", str(error))))
    return swept


class _Places:
    """Folders of runs in which something of dead runners was found, each held while it is looked after.

    Args:
        me: the asking process.
        held: the folder that it holds anyway.
        stack: ends with the sweep.
    """

    def __init__(self, me: Owner, held: Path | None, stack: ExitStack) -> None:
        self._boot = me.boot
        self._stack = stack
        self._ours = {} if held is None else {held: True}

    def spares(self, found: Found) -> bool:
        """Say whether an object stays, because a runner is at work in its folder, or its run goes on."""
        root = Path(found.labels.get(LABEL_RUN_DIR, ""))
        if not root.is_absolute():
            return False
        if not self._is_ours(root.parent.parent):
            return True
        layout = RunLayout(root)
        record = read_record(layout)
        if record is None or not goes_on(layout, record, self._boot):
            return False
        if found.state is None:
            return True
        waited_for = found.state.status == NEVER_STARTED or (found.running and not _overdue(found))
        return waited_for and _attempt_under_way(layout, record, found.state) is not None

    def _is_ours(self, folder: Path) -> bool:
        if folder not in self._ours:
            self._ours[folder] = self._hold(folder)
        return self._ours[folder]

    def _hold(self, folder: Path) -> bool:
        if not folder.is_dir():
            return True
        try:
            self._stack.enter_context(claim(folder))
        except StorageError:
            return False
        return True


def _overdue(found: Found) -> bool:
    try:
        return float(found.labels.get(LABEL_DEADLINE, "inf")) < now()
    except ValueError:
        return False


def _attempt_under_way(layout: RunLayout, record: RunRecord, state: ContainerState) -> Begun | None:
    """Return what was written down of the attempt that a container is; None if its step is over or it was another."""
    found = under_way(layout, record, ended_steps(layout, record))
    return next((one for one in found.values() if one.container == state.name), None)


def stale_cgroups(engine: Engine, root: Path = CGROUP_ROOT) -> Sequence[str]:
    """Return parent cgroups of this engine's that no process runs in and no container needs any more.

    Parents are listed before containers: one whose container is gone by then has been read by its runner, because a
    container is removed only after that.
    """
    parents = set(find_parents(root))
    needed = {state.labels.get(LABEL_CGROUP, "") for state in engine.observer.find({LABEL_KIND: None})}
    stale = find_stale_parents(root, keep=needed)
    return [parent for parent in stale if parent in parents and is_of(engine.info(), parent)]


def _collect(engine: Engine, me: Owner, state: ContainerState) -> None:
    """Keep what a left-over container tells where its attempt's would have been, if its run directory still exists."""
    directory, step = Path(state.labels.get(LABEL_RUN_DIR, "")), state.labels.get(LABEL_STEP, "")
    if not directory.is_absolute() or not directory.is_dir() or not step.isdigit():
        return
    layout, index = RunLayout(directory), int(step)
    record = read_record(layout)
    planned = {one.index: one for one in record.run.steps} if record is not None else {}
    limit = planned[index].limits.log if index in planned else Limits().log
    if not layout.step(index).root.is_dir():
        return
    begun = None
    if record is not None and goes_on(layout, record, me.boot):
        begun = _attempt_under_way(layout, record, state)
    usage = engine.observer.usage(state.name, state.labels.get(LABEL_CGROUP) or None) if begun is not None else None
    logs = collect_logs(engine.observer.logs(state.id), layout.step(index), limit)
    if begun is not None and usage is not None:
        restarted = engine.incarnation() != begun.incarnation
        ended = Ended(state=state, usage=usage, logs=logs, restarted=restarted)
        write_collected(layout, index, Collected(container=state.name, ended=ended))


def discard(context: Context, layout: RunLayout) -> None:
    """Collect, then remove, what is left in the engine of a run that is begun anew, before its directory is set aside.

    Raises:
        EngineError: if the engine refuses: nothing may go on writing to a directory that is set aside.
        StorageError: if what is left cannot be kept.
    """
    if not layout.root.exists():
        return
    if context.gateway is not None:
        context.gateway.forget(layout.calls)
    engine, place = context.engine, {LABEL_RUN_DIR: str(layout.root)}

    def remove() -> None:
        for state in engine.observer.find({**place, LABEL_KIND: "attempt"}):
            engine.containers.stop(state.id, _GRACE)
            _collect(engine, context.owner, engine.observer.inspect(state.id))
            engine.containers.remove(state.id)
            if parent := state.labels.get(LABEL_CGROUP):
                context.spent.append(parent)
        for name, _ in engine.volumes.find(place):
            engine.volumes.remove(name)

    context.gate.patiently(remove, context.cancellation, context.events)


def finish_interrupted(output: Path, ledger: Ledger, me: Owner) -> list[RunRecord]:
    """Finalise every run whose runner died before it could and that does not go on; the next `go` does them again.

    Call it with the folder of runs claimed: then whoever holds a lease in it is dead.

    Returns:
        The records as they stand now.

    Raises:
        StorageError: if they cannot be written.
    """
    finished = []
    for row in ledger.rows(states=("leased",)):
        layout = RunLayout(output / row.directory)
        record = read_record(layout)
        if record is None or goes_on(layout, record, me.boot):
            continue
        if (lease := ledger.lease(record.run, me)) is None:
            continue
        if record.outcome is None and record.suspended:
            # It died before it touched anything: the run still waits.
            ledger.suspend(lease, record)
            continue
        if record.outcome is None:
            record = _finalise_interrupted(layout, record)
        _complete(layout, record)
        ledger.finish(lease, record, read_totals(layout.metrics))
        finished.append(record)
    return finished


def _finalise_interrupted(
    layout: RunLayout, record: RunRecord, outcome: Outcome = "broken", reason: str = _INTERRUPTED
) -> RunRecord:
    """Write metrics, README and record of a run that was cut off; its finished steps keep what was metered."""
    remove_leftovers(layout.root)
    remove_tree(layout.views)
    steps = ended_steps(layout, record)
    measured = [(step, step_report(layout, record, step)) for step in steps]
    cut_off = _cut_off(layout, record, steps)
    metrics = run_metrics(measured, scan(layout.workspace) if layout.workspace.is_dir() else None, cut_off=cut_off)
    final = record.model_copy(
        update={
            "outcome": outcome,
            "reason": reason,
            "finished_at": iso(now()),
            "steps": steps,
            "suspended": (),
            "artifacts": layout.workspace.name,
            "archive": layout.archive(record.run.archive).name if record.run.archive != "off" else None,
            "notes": (*record.notes, *_told(cut_off), *make_collectable(layout.root)),
        }
    )
    write_metrics(layout.metrics, metrics)
    write_table(layout.metrics_table, metrics, measured)
    write_text(layout.readme, render_readme(final, metrics))
    write_json(layout.metadata, final)
    return final


def _cut_off(layout: RunLayout, record: RunRecord, ended: Sequence[StepRecord]) -> list[str]:
    """Return the steps that were under way: those that left something and no record."""
    known = {step.id for step in ended}
    return [one.id for one in record.run.steps if one.id not in known and layout.step(one.index).root.is_dir()]


def _told(names: Sequence[str]) -> list[str]:
    """Return a note that names the steps that were under way."""
    if len(names) < _SEVERAL:
        return []
    return [f"steps {', '.join(names)} were under way; what they printed is in their folders"]


def _complete(layout: RunLayout, record: RunRecord) -> None:
    """Do what the crash prevented after the record was final: remove the views, write the archive."""
    if layout.views.exists():
        remove_tree(layout.views)
    if record.archive is not None and not (layout.root / record.archive).exists():
        seal(layout, record)


def _give_up(layout: RunLayout, record: RunRecord) -> RunRecord:
    """Finalise a run that is begun again: it was cut off, or it waits for people and is wanted anew."""
    if record.suspended:
        return _finalise_interrupted(layout, record, "cancelled", "it waited for approval and was begun anew")
    return _finalise_interrupted(layout, record)


def settle(layout: RunLayout, output: Path, *, fresh: bool) -> RunRecord | None:
    """Bring a run directory found before its run starts into a final state.

    A record that was finalised counts, unless the run is wanted anew: its archive is written if that was what the
    crash prevented, and the record is returned. Anything else is finalised as interrupted and set aside, so that the
    run starts in an empty directory. Whoever wants to go on with a suspended run does not come here.

    Raises:
        StorageError: if the directory cannot be moved.
    """
    if not layout.root.exists():
        return None
    remove_leftovers(layout.root)
    record = read_record(layout)
    if record is not None and is_final(record.outcome, record.reason) and not fresh:
        _complete(layout, record)
        return record
    if record is not None and record.outcome is None:
        _complete(layout, _give_up(layout, record))
    set_aside(output, layout.root)
    return None
