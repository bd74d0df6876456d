"""After a crash: keep the evidence of what a dead owner left in the engine, then remove it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from runner.engine.cgroup import CGROUP_ROOT, find_parents, find_stale_parents
from runner.engine.owner import Owner
from runner.engine.protocol import ContainerState, Engine
from runner.engine.sweep import Swept, sweep
from runner.errors import EngineError
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
from runner.execution.context import iso, now
from runner.execution.resume import step_report
from runner.execution.run import seal
from runner.ledger.store import Ledger
from runner.names import LABEL_CGROUP, LABEL_KIND, LABEL_RUN_DIR, LABEL_STEP
from runner.plan.resume import is_final
from runner.spec.models import Limits

_INTERRUPTED = "interrupted: the runner ended before the run did"
_SEVERAL = 2
"""From so many steps under way at once the record names them: of one it is the one after the last."""


def sweep_dead(engine: Engine, me: Owner, cgroups: Path = CGROUP_ROOT) -> Swept:
    """Collect, then remove, what dead runners of this user left in the engine; everyone else's is left alone.

    Args:
        engine: where to sweep.
        me: the asking process.
        cgroups: where the cgroup file system is.

    Raises:
        EngineError: if the engine cannot be asked.
    """
    swept = sweep(engine, me, collect=lambda state: _collect(engine, state))
    stale = stale_cgroups(engine, cgroups)
    try:
        engine.observer.release(stale)
    except EngineError as error:
        return dataclasses.replace(swept, kept=(*swept.kept, ("an empty control group", str(error))))
    return swept


def stale_cgroups(engine: Engine, root: Path = CGROUP_ROOT) -> Sequence[str]:
    """Return parent cgroups that no process runs in and no container needs any more.

    Parents are listed before containers: one whose container is gone by then has been read by its runner, because a
    container is removed only after that.
    """
    parents = set(find_parents(root))
    needed = {state.labels.get(LABEL_CGROUP, "") for state in engine.observer.find({LABEL_KIND: None})}
    return [parent for parent in find_stale_parents(root, keep=needed) if parent in parents]


def _collect(engine: Engine, state: ContainerState) -> None:
    """Keep a left-over container's output where its attempt's would have been, if its run directory still exists."""
    directory, step = Path(state.labels.get(LABEL_RUN_DIR, "")), state.labels.get(LABEL_STEP, "")
    if not directory.is_absolute() or not directory.is_dir() or not step.isdigit():
        return
    layout = RunLayout(directory)
    record = read_record(layout)
    planned = {one.index: one for one in record.run.steps} if record is not None else {}
    limit = planned[int(step)].limits.log if int(step) in planned else Limits().log
    if layout.step(int(step)).root.is_dir():
        collect_logs(engine.observer.logs(state.id), layout.step(int(step)), limit)


def finish_interrupted(output: Path, ledger: Ledger, me: Owner) -> list[RunRecord]:
    """Finalise every run whose runner died before it could, with all that is known; the next `go` does them again.

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
        if record is None or (lease := ledger.lease(record.run, me)) is None:
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
    steps = _ended(layout, record)
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


def _ended(layout: RunLayout, record: RunRecord) -> tuple[StepRecord, ...]:
    """Return the steps that have ended: the record of a large run may lag behind those of its steps."""
    known = {step.id: step for step in record.steps}
    for planned in record.run.steps:
        if planned.id not in known and (found := _read_step(layout.step(planned.index).metadata)) is not None:
            known[found.id] = found
    return tuple(sorted(known.values(), key=lambda one: one.index))


def _read_step(path: Path) -> StepRecord | None:
    try:
        return StepRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


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
    """Write the archive if the crash came before it."""
    if record.archive is not None and not (layout.root / record.archive).exists():
        seal(layout, record)


def read_record(layout: RunLayout) -> RunRecord | None:
    """Return the record of a run directory, or None if there is none that can be read."""
    try:
        return RunRecord.model_validate_json(layout.metadata.read_bytes())
    except (OSError, ValueError):
        return None


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
