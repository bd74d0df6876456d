"""Begin a run that does not begin with nothing, and keep what it begins with as number 0 of its own history.

A forked run begins with the workspace that another run had after a step, any other with the scenario's bundle.
"""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error
from runner.evidence.history.oci import KeptStep, read_steps
from runner.evidence.history.restore import restore
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.tree import scan
from runner.execution.context import Context
from runner.execution.place import Origin
from runner.execution.seeding import seed
from runner.plan.models import Ancestry, Run

ORIGIN = 0
"""Number of the workspace that a run begins with, in its own history."""
ORIGIN_ID = "origin"
"""What is in the place of a step's name there."""


def begin(context: Context, run: Run) -> tuple[str, ...]:
    """Give a run the workspace that it begins with, before its first step; one that begins with nothing is left as it is.

    Args:
        context: shared hands; `origins` says where the workspace is kept.
        run: a run whose folders are made and hold nothing yet.

    Returns:
        A sentence for each thing that is not as the other run had it.

    Raises:
        StorageError: if the workspace is no longer kept, is another one than was planned, or cannot be written.
    """
    if run.parent is None:
        return seed(context.layout(run), run, run.start, ORIGIN, ORIGIN_ID) if run.start is not None else ()
    origin = context.origins.get(run.digest or "")
    if origin is None:
        raise _missing(run.parent, "nothing says where it is kept")
    layout = context.layout(run)
    notes = _restore(layout, run.parent, origin)
    if origin.state is None:
        notes += (f"/state began empty: that of {run.parent.run} is not kept as step {run.parent.step} left it",)
    else:
        copy_state(origin.state, layout.state)
        notes += (f"/state began as {run.parent.run} left it",)
    if run.history != "off":
        found = scan(layout.workspace)
        history = open_history(layout.history, (origin.history,))
        notes += take_snapshot(history, layout.workspace, found, ORIGIN, ORIGIN_ID)
    return notes


def _restore(layout: RunLayout, parent: Ancestry, origin: Origin) -> tuple[str, ...]:
    step = _kept(parent, origin)
    mode = stat.S_IMODE(layout.workspace.stat().st_mode)
    index = restore(origin.history, step, layout.workspace)
    # What is given back is for its owner's eyes alone; a workspace is as open as any other run's.
    layout.workspace.chmod(mode)
    return tuple(f"{parent.run} had in its workspace, and this run has not: {one}" for one in index.skipped)


def copy_state(source: Path, target: Path) -> None:
    """Copy a folder of state; what is neither file, folder nor link, like the socket of a server, ends with its run."""
    try:
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=_special)
    except OSError as error:
        raise storage_error(f"cannot copy {source}", error) from error


def _special(folder: str, names: list[str]) -> list[str]:
    modes = {name: (Path(folder) / name).lstat().st_mode for name in names}
    return [one for one, mode in modes.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))]


def _kept(parent: Ancestry, origin: Origin) -> KeptStep:
    """Return the step that is continued, which must be the one that was planned with."""
    found = next((one for one in read_steps(origin.history) if one.number == origin.number), None)
    if found is None:
        raise _missing(parent, f"{origin.history} does not keep it")
    if found.config != parent.workspace_sha256:
        raise _missing(parent, f"its digest is {found.config} now, and was {parent.workspace_sha256}")
    return found


def _missing(parent: Ancestry, why: str) -> StorageError:
    return StorageError(
        f"the workspace of {parent.run} after step {parent.step} is not there, so it cannot be continued",
        why=why,
        hint=f"runner verify {parent.run}",
    )
