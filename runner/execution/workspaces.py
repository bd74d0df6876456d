"""Give each step of a run what it works on, and bring together what steps beside each other changed.

A step with no other step beside it works in the run's one workspace, the trunk, and in its one state. Steps beside each
other get views: copies of the trunk with the changes of those before them in the same block, in which nobody else
works. The trunk stays as it is until the block is over; then all its changes are merged.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from runner.evidence.copying import copy_tree, remove_tree
from runner.evidence.history.seen import Seen
from runner.evidence.history.snapshot import Known
from runner.evidence.records import StepRecord
from runner.evidence.tree import TreeScan, scan
from runner.evidence.walk import Entry, RawPath, show_path
from runner.execution.blocks import Blocks, Ended, changes_of
from runner.execution.container import prepare_state
from runner.execution.context import Context
from runner.execution.history import Keeper, Kept, put_upon, seen_by
from runner.execution.place import Place
from runner.execution.views import (
    STATE,
    WORKSPACE,
    MergeConflict,
    View,
    changes_in,
    make_view,
    restore_tree,
    save_changes,
    seen_in,
    view_folder,
)
from runner.execution.volumes import Volumes
from runner.plan.graph import Placement, placements
from runner.plan.models import PlannedStep, Run

__all__ = ["MergeConflict", "Place", "Workspaces"]

_FOUND = "found"
"""Folder of what a step found in the trunk, if it may be tried again."""
_NOTHING = TreeScan(entries={}, files=0, bytes=0)


@dataclass(kw_only=True)
class _Entered:
    """A step that is under way."""

    place: Place
    view: View | None = None
    state: View | None = None
    known: Known = field(default_factory=Known)
    """What the history knows of what the step found."""
    again: bool = False
    """Whether there is a copy of what the step found in the trunk and in the run's one state."""
    state_before: TreeScan = _NOTHING
    """Of the run's one state then."""
    notes: list[str] = field(default_factory=list)


class Workspaces:
    """The workspaces of one run; safe in several threads.

    Args:
        context: shared hands.
        run: the run; its folders are made.
        ended: records of steps that ended before the run was suspended.
    """

    def __init__(self, context: Context, run: Run, ended: Sequence[StepRecord] = ()) -> None:
        self.notes: list[str] = []
        """What is to be said of the run besides: to be read when all is over."""
        self._context = context
        self._run = run
        self._layout = context.layout(run)
        self._placements: Mapping[str, Placement] = placements(run.steps)
        self._lock = threading.Lock()
        self._entered: dict[str, _Entered] = {}
        self._trunk: TreeScan | None = None
        self._volumes = Volumes(context, run)
        self._keeper = Keeper(self._layout, run)
        self._blocks = Blocks(self._layout, run, self._keeper)
        self._before = ended

    def __enter__(self) -> Self:
        """Make the volume of the trunk, and take up what a suspended run left.

        Raises:
            EngineError: if the engine refuses.
            StorageError: if what a suspended run left cannot be used.
        """
        if self._before:
            self._blocks.take_up([one.id for one in self._before])
        self._volumes.make(self._context.object_name(self._run), self._layout.workspace)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the volumes; the folders below them stay. One that cannot be removed is noted, and swept later."""
        self.notes += self._volumes.remove_all()

    def enter(self, step: PlannedStep) -> Place:
        """Return what a step works on; every step before it has ended.

        Args:
            step: the step; it is under way until `leave`.

        Raises:
            MergeConflict: if steps before it excluded each other.
            StorageError: if something cannot be read or written.
            EngineError: if the engine refuses.
        """
        where = self._placements[step.id]
        with self._lock:
            tree, notes = self._blocks.merge(step, where.block + _alone(where))
            self._trunk = tree or self._trunk
        entered = self._ready(step, where)
        entered.notes += notes
        with self._lock:
            self._entered[step.id] = entered
        return entered.place

    def again(self, step: PlannedStep) -> Place:
        """Return what a step works on when it is tried again: what it found. A shared workspace stays as it is.

        Args:
            step: a step that is under way.

        Raises:
            StorageError: if something cannot be read or written.
        """
        entered = self._entered[step.id]
        if entered.again:
            self._restore(step, entered)
            return entered.place
        fresh = self._ready(step, self._placements[step.id])
        fresh.notes = entered.notes
        with self._lock:
            self._entered[step.id] = fresh
        return fresh.place

    def leave(self, step: PlannedStep, tree: TreeScan | None, record: StepRecord) -> tuple[str, ...]:
        """Take a step's changes, and keep what it left in the history.

        Args:
            step: a step that has ended; of one that was not under way nothing is done.
            tree: its workspace as somebody saw it then; None if nobody looked.
            record: what it came to.

        Returns:
            A sentence for each thing that a reader of the record should know besides.

        Raises:
            StorageError: if what a step left beside others cannot be read.
        """
        with self._lock:
            entered = self._entered.pop(step.id, None)
        if entered is None:
            return ()
        where, notes = self._placements[step.id], entered.notes
        after = None
        if record.attempts and tree is not None and entered.place.workspace is not None:
            after, found = self._keep(step, entered, tree)
            notes += found
        self._take(step, entered, tree, None if after is None else Kept(found=entered.known, after=after))
        if where.mode == "trunk":
            self._trunk = None if where.shared else tree
        if entered.view is not None:
            notes += self._volumes.remove(entered.place.volume)
        return tuple(notes)

    def finish(self) -> MergeConflict | None:
        """Merge what is left, when no step is under way and none will be, and remove the views.

        What a step had done counts too that this program broke down in.

        Returns:
            Where steps excluded each other, if they did: all else is merged, and there the trunk stays as it was.

        Raises:
            StorageError: if something cannot be read or written.
        """
        for step in self._run.steps:
            if (entered := self._entered.pop(step.id, None)) is not None:
                self._take(step, entered, None, None)
        with self._lock:
            conflict, notes = self._blocks.finish()
            self.notes += notes
            self._trunk = None
            remove_tree(self._layout.views)
            return conflict

    def _ready(self, step: PlannedStep, where: Placement) -> _Entered:
        """Make what a step works on."""
        upstream = self._blocks.upstream(where.upstream)
        read_only = step.workspace == "read-only"
        if where.mode == "none":
            place = Place(workspace=None, volume=None, state=self._layout.state, read_only=True, before=_NOTHING)
            entered = _Entered(place=place)
        elif where.mode == "view" and (upstream or not read_only):
            entered = self._ready_view(step, upstream, read_only=read_only)
        else:
            known = self._trunk if _alone(where) else None
            place = Place(
                workspace=self._layout.workspace,
                volume=self._context.object_name(self._run),
                state=self._layout.state,
                read_only=read_only,
                before=known or scan(self._layout.workspace),
            )
            entered = _Entered(place=place, known=self._keeper.trunk())
        self._ready_state(step, where, entered)
        return entered

    def _ready_view(self, step: PlannedStep, upstream: Sequence[Ended], *, read_only: bool) -> _Entered:
        """Make a step's own view of the workspace."""
        changes = changes_of(upstream, WORKSPACE)
        self._blocks.refuse(step, changes)
        folder = view_folder(self._layout, step.index) / WORKSPACE
        view = make_view(self._layout.workspace, folder, changes)
        name = f"{self._context.object_name(self._run)}-s{step.index:02d}"
        if _contained(step):
            self._volumes.make(name, folder)
        return _Entered(
            place=Place(
                workspace=folder, volume=name, state=self._layout.state, read_only=read_only, before=view.before
            ),
            view=view,
            known=self._known(view, upstream),
            notes=[f"step {step.id}: its view of the workspace has no {show_path(path)}" for path in view.left],
        )

    def _ready_state(self, step: PlannedStep, where: Placement, entered: _Entered) -> None:
        """Make the state of a step: the run's own, a view of it, or an empty one that is not kept."""
        folder, alone = view_folder(self._layout, step.index), _alone(where)
        if not _contained(step):
            return
        if not _keeps_state(step):
            remove_tree(folder / STATE)
            prepare_state(folder / STATE, self._run)
            entered.place = replace(entered.place, state=folder / STATE)
        elif not alone:
            upstream = changes_of(self._blocks.before(step), STATE)
            entered.state = make_view(self._layout.state, folder / STATE, upstream)
            entered.place = replace(entered.place, state=folder / STATE)
        if alone and step.retry.attempts > 1:
            if not entered.place.read_only:
                copy_tree(self._layout.workspace, folder / _FOUND / WORKSPACE)
                # Copying may have opened what was locked, and locked it again.
                entered.place = replace(entered.place, before=scan(self._layout.workspace))
            copy_tree(self._layout.state, folder / _FOUND / STATE)
            entered.state_before = scan(self._layout.state)
            entered.again = True

    def _restore(self, step: PlannedStep, entered: _Entered) -> None:
        """Put back what a step found in the trunk and in the run's one state."""
        folder = view_folder(self._layout, step.index)
        if not entered.place.read_only:
            restore_tree(self._layout.workspace, folder / _FOUND / WORKSPACE, entered.place.before.entries)
        restore_tree(self._layout.state, folder / _FOUND / STATE, entered.state_before.entries)
        if not _keeps_state(step):
            remove_tree(folder / STATE)
            prepare_state(folder / STATE, self._run)
        entered.state_before = scan(self._layout.state)
        entered.place = replace(entered.place, before=scan(self._layout.workspace))

    def _known(self, view: View, upstream: Sequence[Ended]) -> Known:
        """Return what the history knows of a view: what it knows of the trees that each file was copied from."""
        trunk = self._keeper.trunk()
        known = trunk
        for one in upstream:
            known = known if one.kept is None else put_upon(known, one.kept)
        kept = {one.changes[WORKSPACE].step: one.kept for one in upstream}

        def source(path: RawPath) -> tuple[Seen | None, Entry | None]:
            changes = view.brought.get(path)
            if changes is None:
                return trunk.seen.get(path), view.copied.entries.get(path)
            return seen_by(kept[changes.step], path), changes.after.get(path)

        return replace(known, seen=seen_in(known.index, view.before, source))

    def _keep(self, step: PlannedStep, entered: _Entered, tree: TreeScan) -> tuple[Known | None, tuple[str, ...]]:
        """Keep what a step left in the history."""
        where, workspace = self._placements[step.id], entered.place.workspace
        if where.mode == "trunk" or workspace is None:
            return None, self._keeper.keep_trunk(step, None if where.shared else tree)
        return self._keeper.keep_view(step, workspace, tree, entered.known)

    def _take(self, step: PlannedStep, entered: _Entered, tree: TreeScan | None, kept: Kept | None) -> None:
        """Find what a step changed in its views, and remove what holds nothing that will be needed."""
        folder, name, found = view_folder(self._layout, step.index), (step.id, step.index), {}
        if entered.view is not None and not entered.place.read_only:
            found[WORKSPACE] = changes_in(entered.view, name, tree)
        if entered.state is not None:
            found[STATE] = changes_in(entered.state, name, None)
        if not found:
            remove_tree(folder)
            return
        for key in (WORKSPACE, STATE):
            if key not in found:
                remove_tree(folder / key)
        save_changes(folder, found)
        changes = {key: one for key, (one, _) in found.items()}
        self._blocks.add(step, Ended(changes=changes, kept=kept if WORKSPACE in found else None))


def _alone(where: Placement) -> bool:
    """Tell whether a step has the trunk to itself."""
    return where.mode == "trunk" and not where.shared


def _contained(step: PlannedStep) -> bool:
    """Tell whether a step runs in a container."""
    return step.kind not in {"model", "approval"}


def _keeps_state(step: PlannedStep) -> bool:
    """Tell whether a step has a part in the run's state: a check does not, nor one without the workspace."""
    return _contained(step) and step.kind != "check" and step.workspace != "none"
