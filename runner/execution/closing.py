"""Bring the record of a run that was cut off to an end, and make up for what a crash prevented after that."""

from __future__ import annotations

from collections.abc import Sequence

from runner.evidence.atomic import remove_leftovers, sync_files, write_json, write_text
from runner.evidence.copying import remove_tree
from runner.evidence.layout import RunLayout
from runner.evidence.measures.completing import write_all
from runner.evidence.readme import render_readme
from runner.evidence.records import Outcome, RunRecord, StepRecord
from runner.evidence.tree import make_collectable
from runner.execution.context import iso, now
from runner.execution.resume import ended_steps, step_report
from runner.execution.run import seal

INTERRUPTED = "interrupted: the runner ended before the run did"
_UNSEALED = (
    "the machine was started again before the run's archive was written: what it left may not have reached the disk"
)
_SEVERAL = 2
"""From so many steps under way at once the record names them: of one it is the one after the last."""


def finalise(layout: RunLayout, record: RunRecord, outcome: Outcome = "broken", reason: str = INTERRUPTED) -> RunRecord:
    """Write metrics, README and record of a run that was cut off; its finished steps keep what was metered.

    Args:
        layout: where the run is.
        record: as it was written last.
        outcome: what it ends with.
        reason: why.

    Raises:
        StorageError: if they cannot be written.
    """
    remove_leftovers(layout.root)
    remove_tree(layout.views)
    remove_tree(layout.judging)
    steps = ended_steps(layout, record)
    measured = [(step, step_report(layout, record, step)) for step in steps]
    cut_off = _cut_off(layout, record, steps)
    metrics = write_all(layout, record.run, measured, cut_off)
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
    sync_files(layout.calls.parent, layout.bodies)
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


def complete(layout: RunLayout, record: RunRecord) -> None:
    """Do what a crash prevented after the record was final: remove the views, write the archive.

    Raises:
        StorageError: if that fails.
    """
    if layout.views.exists():
        remove_tree(layout.views)
    if record.archive is not None and not (layout.root / record.archive).exists():
        seal(layout, record)


def is_whole(layout: RunLayout, record: RunRecord, boot: str) -> bool:
    """Tell whether a finished run has what its archive is made of.

    What a framework wrote is not synced until it is in the archive. If that is missing and the machine was started again since
    the record was written, the power may have failed in between.

    Args:
        layout: where the run is.
        record: its record, with an outcome.
        boot: the machine's boot now.
    """
    archived = record.archive is None or (layout.root / record.archive).exists()
    return archived or record.host.boot in {"", boot}


def revoke(layout: RunLayout, record: RunRecord) -> RunRecord:
    """Make a finished run that is not whole a broken one, which is done again.

    Raises:
        StorageError: if that cannot be written.
    """
    reason = f"{_UNSEALED} (it had {record.outcome})" if record.outcome != "broken" else record.reason
    revoked = record.model_copy(update={"outcome": "broken", "reason": reason, "archive": None})
    write_json(layout.metadata, revoked)
    return revoked
