"""What a step left that nobody would finish reading: a million holes of a terabyte cost the disk nothing.

A limit ends such a step within a second or two. What it has made by then stays in its folder; but history and archive, which
read every byte, leave out what is far beyond the limit, and say so.
"""

from __future__ import annotations

from runner.errors import StorageError
from runner.evidence.layout import RunLayout
from runner.evidence.tree import TreeScan
from runner.evidence.weigh import weigh
from runner.plan.models import PlannedStep, Run

_SLACK = 1024**3
"""Bytes beyond a limit that are kept at least: a fast disk takes about as much until the step has been stopped."""


def require_bounded(step: PlannedStep, tree: TreeScan) -> None:
    """Raise if a workspace is too large to be kept in the history.

    Args:
        step: the step that left it.
        tree: the workspace, without what is left out anyway.

    Raises:
        StorageError: if it is.
    """
    most = _most(step.limits.workspace)
    if tree.bytes > most:
        raise StorageError(f"it holds {tree.bytes} bytes, and what is beyond {most} is not read")


def too_much_to_archive(layout: RunLayout, run: Run) -> tuple[str, ...]:
    """Return a sentence if a run has left so much that it gets no archive; nothing if it gets one.

    Raises:
        StorageError: if its folders cannot be read.
    """
    limits = [step.limits for step in run.steps]
    bounds = (
        (layout.workspace, max(one.workspace for one in limits)),
        (layout.state, max(one.state for one in limits)),
    )
    for folder, limit in bounds:
        most = _most(limit)
        if weigh((folder,), lambda: True, most, _ANY).bytes > most:
            return (f"there is no archive: {folder.name} holds more than {most} bytes, and what is beyond is not read",)
    return ()


_ANY = 2**63
"""More names than there can be."""


def _most(limit: int) -> int:
    return limit + max(limit, _SLACK)
