"""After a crash: keep the evidence of what a dead owner left in the engine, then remove it."""

from __future__ import annotations

from pathlib import Path

from runner.engine.owner import Owner
from runner.engine.protocol import ContainerState, Engine
from runner.engine.sweep import Swept, sweep
from runner.errors import RunnerError
from runner.evidence.atomic import remove_leftovers, write_json
from runner.evidence.layout import RunLayout
from runner.evidence.logs import collect_logs
from runner.evidence.records import RunRecord
from runner.evidence.superseded import set_aside
from runner.execution.context import iso, now
from runner.execution.run import seal
from runner.names import LABEL_RUN_DIR, LABEL_STEP

_INTERRUPTED = "interrupted: the runner ended before the run did"
_LOG_LIMIT = 16 * 1024**2


def sweep_dead(engine: Engine, me: Owner) -> Swept:
    """Collect, then remove, what dead runners of this user left in the engine; everyone else's is left alone."""
    return sweep(engine, me, collect=lambda state: _collect(engine, state))


def _collect(engine: Engine, state: ContainerState) -> None:
    """Keep a left-over container's output where its attempt's would have been, if its run directory still exists."""
    directory, step = Path(state.labels.get(LABEL_RUN_DIR, "")), state.labels.get(LABEL_STEP, "")
    if not directory.is_absolute() or not directory.is_dir() or not step.isdigit():
        return
    files = RunLayout(directory).step(int(step))
    if files.root.is_dir() and not files.log("stdout").exists():
        collect_logs(engine.observer.logs(state.id), files, _LOG_LIMIT)


def read_record(layout: RunLayout) -> RunRecord | None:
    """Return the record of a run directory, or None if there is none that can be read."""
    try:
        return RunRecord.model_validate_json(layout.metadata.read_bytes())
    except (OSError, ValueError):
        return None


def settle(layout: RunLayout, output: Path) -> RunRecord | None:
    """Bring a run directory found before its run starts into a final state.

    A record that was finalised counts: its archive is written if that was what the crash prevented, and the record is
    returned. Anything else is finalised as interrupted and set aside, so that the run starts in an empty directory.

    Raises:
        StorageError: if the directory cannot be moved.
    """
    if not layout.root.exists():
        return None
    remove_leftovers(layout.root)
    record = read_record(layout)
    if record is not None and record.outcome is not None:
        if record.outcome in _FINAL:
            if record.archive is not None and not (layout.root / record.archive).exists():
                seal(layout, record)
            return record
    elif record is not None:
        broken = record.model_copy(update={"outcome": "broken", "reason": _INTERRUPTED, "finished_at": iso(now())})
        write_json(layout.metadata, broken)
    set_aside(output, layout.root)
    return None


_FINAL = {"passed", "failed", "timed_out", "exceeded"}
"""Outcomes that stand: the framework's doing. The others run again."""
