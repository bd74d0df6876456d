"""A step that is under way in its workspace: what it was given, and putting back what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.copying import copy_tree, remove_tree
from runner.evidence.history.index import Node
from runner.evidence.history.oci import KeptStep, read_index
from runner.evidence.history.restore import restore
from runner.evidence.history.snapshot import Known
from runner.evidence.layout import RunLayout
from runner.evidence.tree import TreeScan, scan
from runner.evidence.walk import FILE, LINK, Entry, RawPath, show_path
from runner.execution.container import prepare_state
from runner.execution.place import Place, Unrestorable
from runner.execution.views import STATE, WORKSPACE, View, restore_tree, touched_since, view_folder
from runner.plan.graph import Placement
from runner.plan.models import PlannedStep, Run

FOUND = "found"
"""Folder of what a step found in the trunk, if it may be tried again."""
_SMALL_STATE = 64 * 1024**2
_FEW_NAMES = 5_000
"""A state of so many bytes and names is copied before each step: unlike the workspace it has no history."""


@dataclass(kw_only=True)
class Entered:
    """A step that is under way."""

    place: Place
    view: View | None = None
    state: View | None = None
    known: Known = field(default_factory=Known)
    """What the history knows of what the step found."""
    again: bool = False
    """Whether there is a copy of all that the step found in the trunk and in the run's one state."""
    notes: list[str] = field(default_factory=list)


def alone(where: Placement) -> bool:
    """Tell whether a step has the trunk to itself."""
    return where.mode == "trunk" and not where.shared


def contained(step: PlannedStep) -> bool:
    """Tell whether a step runs in a container."""
    return step.kind not in {"model", "approval"}


def keeps_state(step: PlannedStep) -> bool:
    """Tell whether a step has a part in the run's state: a check does not, nor one without the workspace."""
    return contained(step) and step.kind != "check" and step.workspace != "none"


def keep_found(layout: RunLayout, step: PlannedStep, entered: Entered) -> None:
    """Copy what a step that has the trunk to itself finds there and that may have to be put back.

    Raises:
        StorageError: if it cannot be copied.
    """
    folder = view_folder(layout, step.index) / FOUND
    if folder.exists():
        remove_tree(folder)
    entered.again = step.retry.attempts > 1
    if entered.again and not entered.place.read_only:
        copy_tree(layout.workspace, folder / WORKSPACE)
        # Copying may have opened what was locked, and locked it again.
        entered.place = replace(entered.place, before=scan(layout.workspace))
    if keeps_state(step):
        before = scan(layout.state)
        small = before.bytes <= _SMALL_STATE and len(before.entries) <= _FEW_NAMES
        if entered.again or (before.files and small):
            copy_tree(layout.state, folder / STATE)
            before = scan(layout.state)
        entered.place = replace(entered.place, state_before=before)


def put_back(layout: RunLayout, run: Run, step: PlannedStep, entered: Entered, kept: KeptStep | None) -> None:
    """Put back what a step found in the trunk and in the run's one state, as far as it was touched since.

    Args:
        layout: where the run is.
        run: the run.
        step: the step, which had them to itself.
        entered: what it was given.
        kept: of the history, the step that left the trunk as this one found it; None if there is none.

    Raises:
        Unrestorable: if that is kept nowhere.
        StorageError: if something cannot be read or written.
    """
    folder, place = view_folder(layout, step.index), entered.place
    if not place.read_only and entered.again:
        restore_tree(layout.workspace, folder / FOUND / WORKSPACE, place.before.entries)
    elif not place.read_only:
        _from_history(layout, step, place.before, kept)
    if not keeps_state(step):
        remove_tree(folder / STATE)
        prepare_state(folder / STATE, run)
    elif place.state_before is not None:
        _put_back_state(layout, step, place.state_before)
        place = replace(place, state_before=scan(layout.state))
    entered.place = replace(place, before=scan(layout.workspace))


def _from_history(layout: RunLayout, step: PlannedStep, before: TreeScan, kept: KeptStep | None) -> None:
    touched = touched_since(layout.workspace, before.entries)
    if not touched:
        return
    lost = [path for path in touched if path in before.entries]
    target = view_folder(layout, step.index) / FOUND / WORKSPACE
    if not lost:
        _make(target)
    elif kept is None:
        raise _unrestorable(step, lost[0], "the history has not got it")
    else:
        nodes = read_index(layout.history, kept).nodes
        if other := next((path for path in lost if not _alike(nodes.get(path), before.entries[path])), None):
            raise _unrestorable(step, other, "the history has another one, or none")
        target.parent.mkdir(parents=True, exist_ok=True)
        restore(layout.history, kept, target)
    restore_tree(layout.workspace, target, before.entries)
    remove_tree(target)


def _put_back_state(layout: RunLayout, step: PlannedStep, before: TreeScan) -> None:
    touched = touched_since(layout.state, before.entries)
    if not touched:
        return
    found = view_folder(layout, step.index) / FOUND / STATE
    if not found.is_dir():
        if before.files:
            raise _unrestorable(step, min(touched), "it is in /state, which was too large to be copied")
        _make(found)
        _make_folders(found, before.entries)
    restore_tree(layout.state, found, before.entries)


def _make_folders(root: Path, entries: Mapping[RawPath, Entry]) -> None:
    for path in sorted(entries):
        _make(root / path.decode("utf-8", "surrogateescape"))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}", why=str(error)) from error


def _alike(node: Node | None, entry: Entry) -> bool:
    """Tell whether the history has what a scan saw."""
    if node is None or node.kind != entry.kind:
        return False
    if entry.kind == LINK:
        return node.target == entry.target
    return node.mode == entry.mode and (entry.kind != FILE or node.size == entry.size)


def _unrestorable(step: PlannedStep, path: RawPath, why: str) -> Unrestorable:
    return Unrestorable(f"what step {step.id} found cannot be put back: {show_path(path)} was changed, and {why}")
