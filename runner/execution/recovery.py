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
from runner.events import boottime
from runner.evidence.atomic import remove_leftovers
from runner.evidence.layout import RunLayout
from runner.evidence.logs import collect_logs
from runner.evidence.measures.again import newest_totals
from runner.evidence.records import RunRecord
from runner.evidence.superseded import set_aside
from runner.execution.begun import Begun, Collected, write_collected
from runner.execution.claim import claim
from runner.execution.closing import complete, finalise, is_whole, revoke
from runner.execution.command_folder import remove_folder
from runner.execution.contain import Ended
from runner.execution.context import Context
from runner.execution.left import HALF_REMOVED, NEVER_STARTED
from runner.execution.resume import ended_steps, goes_on, read_record, under_way
from runner.ledger.store import Ledger
from runner.names import LABEL_CGROUP, LABEL_DEADLINE, LABEL_KIND, LABEL_RUN_DIR, LABEL_STEP
from runner.plan.resume import is_final
from runner.spec.models import Limits

__all__ = ["discard", "finish_interrupted", "read_record", "settle", "stale_cgroups", "sweep_dead"]

_GRACE = 5.0
"""Seconds between the polite signal and the kill for a container whose run is begun anew."""
_OF_RUNS = frozenset({"attempt", "check", "workspace"})
"""Kinds of objects whose run directory lies in a folder of runs."""


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
        for folder in places.left_behind(swept):
            remove_folder(folder, me.uid)
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
        self._commands: dict[str, Path] = {}
        """Folders of commands, by the names of their containers."""

    def spares(self, found: Found) -> bool:
        """Say whether an object stays, because a runner is at work in its folder, or its run goes on."""
        root = Path(found.labels.get(LABEL_RUN_DIR, ""))
        kind = found.labels.get(LABEL_KIND)
        if kind == "command" and found.state is not None:
            self._commands[found.name] = root
        if not root.is_absolute() or kind not in _OF_RUNS:
            # A command or a shell is its owner's alone, and he is dead; its folder may lie anywhere.
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

    def left_behind(self, swept: Swept) -> list[Path]:
        """Return the folders that commands had whose containers are gone now."""
        return [folder for name, folder in self._commands.items() if name in swept.containers]

    def _is_ours(self, folder: Path) -> bool:
        if folder not in self._ours:
            self._ours[folder] = self._hold(folder)
        return self._ours[folder]

    def _hold(self, folder: Path) -> bool:
        if not folder.is_dir():
            return True
        try:
            self._stack.enter_context(claim(folder, sweeps=True))
        except StorageError:
            return False
        return True


def _overdue(found: Found) -> bool:
    try:
        return float(found.labels.get(LABEL_DEADLINE, "inf")) < boottime()
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
    """Keep what a left-over container tells where its attempt's would have been, if its run directory still exists.

    One whose removal has begun was collected before that, or a person removed it: it tells nothing any more.
    """
    if state.status in HALF_REMOVED:
        return
    directory, step = Path(state.labels.get(LABEL_RUN_DIR, "")), state.labels.get(LABEL_STEP, "")
    if not directory.is_absolute() or not directory.is_dir() or not step.isdigit():
        return
    if state.labels.get(LABEL_KIND) not in _OF_RUNS:
        # Its folder is not held.
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
    context.gate.patiently(
        lambda: remove_objects(context.engine, context.owner, layout, context.spent),
        context.cancellation,
        context.events,
    )


def remove_objects(engine: Engine, me: Owner, layout: RunLayout, spent: list[str]) -> None:
    """Stop, collect and remove every container of a run, and its volumes.

    Args:
        engine: where they are.
        me: the asking process, which holds the run's folder.
        layout: the run.
        spent: takes their parent cgroups.

    Raises:
        EngineError: if the engine refuses.
        StorageError: if what is left cannot be kept; that container stays.
    """
    place = {LABEL_RUN_DIR: str(layout.root)}
    for state in engine.observer.find({**place, LABEL_KIND: "attempt"}):
        engine.containers.stop(state.id, _GRACE)
        _collect(engine, me, engine.observer.inspect(state.id))
        engine.containers.remove(state.id)
        if parent := state.labels.get(LABEL_CGROUP):
            spent.append(parent)
    for name, _ in engine.volumes.find(place):
        engine.volumes.remove(name)


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
            record = finalise(layout, record)
        elif not is_whole(layout, record, me.boot):
            record = revoke(layout, record)
        complete(layout, record)
        ledger.finish(lease, record, newest_totals(layout))
        finished.append(record)
    return finished


def _give_up(layout: RunLayout, record: RunRecord) -> RunRecord:
    """Finalise a run that is begun again: it was cut off, or it waits for people and is wanted anew."""
    if record.suspended:
        return finalise(layout, record, "cancelled", "it waited for approval and was begun anew")
    return finalise(layout, record)


def settle(layout: RunLayout, output: Path, boot: str, *, fresh: bool) -> RunRecord | None:
    """Bring a run directory found before its run starts into a final state.

    A record that was finalised counts, unless the run is wanted anew: its archive is written if that was what the
    crash prevented, and the record is returned. Anything else is finalised as interrupted and set aside, so that the
    run starts in an empty directory. Whoever wants to go on with a suspended run does not come here.

    Args:
        layout: where the run is.
        output: the folder of runs.
        boot: the machine's boot now.
        fresh: whether the run is wanted anew.

    Raises:
        StorageError: if the directory cannot be moved.
    """
    if not layout.root.exists():
        return None
    remove_leftovers(layout.root)
    record = read_record(layout)
    if record is not None and record.outcome is not None and not is_whole(layout, record, boot):
        record = revoke(layout, record)
    if record is not None and is_final(record.outcome, record.reason) and not fresh:
        complete(layout, record)
        return record
    if record is not None and record.outcome is None:
        complete(layout, _give_up(layout, record))
    set_aside(output, layout.root)
    return None
