"""Keep the workspace after each step of a run, whatever the step came to."""

from __future__ import annotations

from pathlib import Path

from runner.errors import StorageError
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.execution.step import StepDone
from runner.plan.models import Run

_MOST_SIBLINGS = 64
"""Runs of the same framework and scenario that are asked for an equal layer."""


def keep_step(layout: RunLayout, run: Run, done: StepDone, notes: list[str]) -> None:
    """Keep the workspace as a step left it, if the run keeps a history and the step was begun.

    What goes wrong here is a note: it changes no outcome, and the next step is compared with the last one kept.

    Args:
        layout: where the run is.
        run: the run.
        done: the step.
        notes: of the run; what could not be kept is added.
    """
    if run.history == "off" or done.tree is None or not done.record.attempts:
        return
    step = done.record
    try:
        history = open_history(layout.history, _siblings(layout, run))
        found = take_snapshot(history, layout.workspace, done.tree, step.index, step.id)
    except StorageError as error:
        notes.append(f"step {step.id}: its workspace is not in the history: {error}")
        return
    notes += [f"step {step.id}: {one}" for one in found]


def _siblings(layout: RunLayout, run: Run) -> list[Path]:
    """Return the histories of other repetitions, which often have equal layers."""
    prefix = f"{run.scenario}-r"
    others = sorted(layout.root.parent.glob(f"{prefix}*"))
    return [RunLayout(one).history for one in others if one != layout.root][-_MOST_SIBLINGS:]
