"""After a crash: keep the evidence of what a dead owner left in the engine, then remove it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from runner.engine.cgroup import CGROUP_ROOT, find_parents, find_stale_parents
from runner.engine.owner import Owner
from runner.engine.protocol import ContainerState, Engine, Usage
from runner.engine.sweep import Swept, sweep
from runner.errors import EngineError
from runner.evidence.atomic import remove_leftovers, write_json, write_text
from runner.evidence.layout import RunLayout
from runner.evidence.logs import collect_logs
from runner.evidence.metrics import RESOURCES, MeasuredStep, read_totals, run_metrics, write_metrics
from runner.evidence.readme import render_readme
from runner.evidence.records import RunRecord, StepRecord
from runner.evidence.superseded import set_aside
from runner.evidence.tree import make_collectable, scan
from runner.execution.context import iso, now
from runner.execution.run import seal
from runner.gateway.calls import Call, read_calls, totals
from runner.ledger.store import Ledger
from runner.names import LABEL_CGROUP, LABEL_KIND, LABEL_RUN_DIR, LABEL_STEP
from runner.plan.resume import is_final
from runner.spec.models import Limits

_INTERRUPTED = "interrupted: the runner ended before the run did"
_UNREAD = "the runner ended before the run's readings were added up; the step's own metrics.json has them"


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
        if record.outcome is None:
            record = _finalise_interrupted(layout, record)
        _complete(layout, record)
        ledger.finish(lease, record, read_totals(layout.metrics))
        finished.append(record)
    return finished


def _finalise_interrupted(layout: RunLayout, record: RunRecord) -> RunRecord:
    """Write metrics, README and record of a run that was cut off; its finished steps keep what was metered."""
    remove_leftovers(layout.root)
    calls = read_calls(layout.calls).calls
    measured = [_measured(step, record, calls) for step in record.steps]
    metrics = run_metrics(measured, scan(layout.workspace) if layout.workspace.is_dir() else None)
    final = record.model_copy(
        update={
            "outcome": "broken",
            "reason": _INTERRUPTED,
            "finished_at": iso(now()),
            "artifacts": layout.workspace.name,
            "archive": layout.archive(record.run.archive).name if record.run.archive != "off" else None,
            "notes": (*record.notes, *make_collectable(layout.root)),
        }
    )
    write_metrics(layout.metrics, metrics)
    write_text(layout.readme, render_readme(final, metrics))
    write_json(layout.metadata, final)
    return final


def _complete(layout: RunLayout, record: RunRecord) -> None:
    """Write the archive if the crash came before it."""
    if record.archive is not None and not (layout.root / record.archive).exists():
        seal(layout, record)


def _measured(step: StepRecord, record: RunRecord, calls: Sequence[Call]) -> MeasuredStep:
    unread = Usage(reasons=dict.fromkeys(RESOURCES, _UNREAD))
    own = [call for call in calls if call.step == step.id]
    return MeasuredStep(
        step=step.id,
        index=step.index,
        outcome=step.outcome,
        attempts=tuple(
            (
                one,
                unread,
                None,
                totals(call for call in own if call.attempt == one.attempt) if record.run.model else None,
            )
            for one in step.attempts
        ),
        tree=None,
        model=record.run.model,
    )


def read_record(layout: RunLayout) -> RunRecord | None:
    """Return the record of a run directory, or None if there is none that can be read."""
    try:
        return RunRecord.model_validate_json(layout.metadata.read_bytes())
    except (OSError, ValueError):
        return None


def settle(layout: RunLayout, output: Path, *, fresh: bool) -> RunRecord | None:
    """Bring a run directory found before its run starts into a final state.

    A record that was finalised counts, unless the run is wanted anew: its archive is written if that was what the
    crash prevented, and the record is returned. Anything else is finalised as interrupted and set aside, so that the
    run starts in an empty directory.

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
        _complete(layout, _finalise_interrupted(layout, record))
    set_aside(output, layout.root)
    return None
