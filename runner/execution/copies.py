"""Keep the workspace after a step a second time where an experiment asks for that, and say what is kept nowhere.

Both sorts of copies are made from the history, so that they show what it has, and neither is in the archive, which has the
history: `history: full` is a folder per step, `history: compressed` an archive per step.
"""

from __future__ import annotations

from runner.errors import StorageError
from runner.evidence.copies import write_folder, write_packed
from runner.evidence.excludes import split
from runner.evidence.history.oci import KeptStep
from runner.evidence.layout import RunLayout
from runner.evidence.tree import scan
from runner.plan.models import Run

_SHOWN = 5
"""Folders that a note names before it only counts."""


def keep_copy(layout: RunLayout, run: Run, kept: KeptStep) -> tuple[str, ...]:
    """Write what the run's `history` asks for besides its layers; what goes wrong is said and changes no outcome.

    Args:
        layout: where the run is.
        run: the run.
        kept: the step, as the history has it by now.

    Returns:
        A sentence for what could not be written.
    """
    try:
        if run.history == "full":
            write_folder(layout, kept)
        elif run.history == "compressed":
            write_packed(layout, kept)
    except StorageError as error:
        return (f"there is no copy of its workspace beside the history: {error}",)
    return ()


def excluded(layout: RunLayout, run: Run) -> tuple[str, ...]:
    """Return what of the final workspace the experiment's patterns leave out of the archive, as one note if anything.

    Raises:
        StorageError: if the workspace cannot be read.
    """
    if run.archive == "off" or not run.exclude_files:
        return ()
    _, skipped = split(scan(layout.workspace), run.exclude_files)
    if not skipped:
        return ()
    more = f", and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    return (f"not in the archive: {'; '.join(str(one) for one in skipped[:_SHOWN])}{more}; see its manifest",)
