"""Give each step of a run what it works on, and bring together what steps beside each other changed.

A step with no other step beside it works in the run's one workspace, the trunk, and in its one state. Steps beside each
other get views: copies of the trunk with the changes of those before them in the same block, in which nobody else
works. The trunk stays as it is until the block is over; then all its changes are merged.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from runner.evidence.copying import remove_tree
from runner.evidence.history.seen import Seen
from runner.evidence.history.snapshot import Known
from runner.evidence.merge import settle
from runner.evidence.records import StepRecord
from runner.evidence.tree import TreeScan, scan
from runner.evidence.walk import Entry, RawPath, show_path
from runner.execution.blocks import Blocks, Ended, changes_of
from runner.execution.container import prepare_state
from runner.execution.context import Context
from runner.execution.entered import Entered, alone, contained, keep_found, keeps_state, put_back
from runner.execution.fork import ORIGIN
from runner.execution.history import Keeper, Kept, put_upon, seen_by
from runner.execution.place import Place
from runner.execution.views import (
    STATE,
    WORKSPACE,
    MergeConflict,
    View,
    changes_in,
    known_view,
    lock_again,
    make_view,
    remove_views,
    save_changes,
    seen_in,
    view_folder,
)
from runner.execution.volumes import Volumes
from runner.plan.graph import Placement, placements
from runner.plan.models import PlannedStep, Run

__all__ = ["MergeConflict", "Place", "Workspaces"]

_NOTHING = TreeScan(entries={}, files=0, bytes=0)


class Workspaces:
    """The workspaces of one run; safe in several threads.

    Args:
        context: shared hands.
        run: the run; its folders are made.
        ended: records of steps that ended before the run was suspended, or its runner ended.
        cut_off: whether its runner ended, so that there may be more than those steps left.
    """

    def __init__(self, context: Context, run: Run, ended: Sequence[StepRecord] = (), *, cut_off: bool = False) -> None:
        self.notes: list[str] = []
        """What is to be said of the run besides: to be read when all is over."""
        self._context = context
        self._run = run
        self._layout = context.layout(run)
        self._placements: Mapping[str, Placement] = placements(run.steps)
        self._lock = threading.Lock()
        self._entered: dict[str, Entered] = {}
        self._trunk: TreeScan | None = None
        self._volumes = Volumes(context, run)
        self._keeper = Keeper(self._layout, run)
        self._blocks = Blocks(self._layout, run, self._keeper)
        self._before = ended
        self._cut_off = cut_off

    def __enter__(self) -> Self:
        """Make the volume of the trunk, and take up what an earlier runner left.

        Raises:
            EngineError: if the engine refuses.
            StorageError: if what an earlier runner left cannot be used.
        """
        if self._cut_off:
            if not self._keeper.off:
                self._keeper.forget_others({ORIGIN, *(one.index for one in self._before)})
            self._volumes.take_over()
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
            tree, notes = self._blocks.merge(step, where.block + alone(where))
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
            Unrestorable: if that was not kept.
            StorageError: if something cannot be read or written.
        """
        entered, where = self._entered[step.id], self._placements[step.id]
        if alone(where) and contained(step):
            put_back(self._layout, self._run, step, entered, self._keeper.trunk_step())
            return entered.place
        fresh = self._ready(step, where)
        fresh.notes = entered.notes
        with self._lock:
            self._entered[step.id] = fresh
        return fresh.place

    def take_up(self, step: PlannedStep, found: TreeScan | None, state: TreeScan | None) -> Place:
        """Return what a step works on that an earlier runner had begun; nothing is made, and nothing put back.

        Args:
            step: the step; it is under way until `leave`.
            found: its workspace as it found it; None if it cannot have changed since.
            state: the same of its state, where that was written down.

        Raises:
            StorageError: if something cannot be read or written.
            EngineError: if the engine refuses.
        """
        where = self._placements[step.id]
        upstream = self._blocks.upstream(where.upstream)
        read_only, folder = step.workspace == "read-only", view_folder(self._layout, step.index)
        own_state = contained(step) and (not keeps_state(step) or not alone(where))
        place = Place(
            workspace=None if where.mode == "none" else self._layout.workspace,
            volume=None if where.mode == "none" else self._context.object_name(self._run),
            state=folder / STATE if own_state else self._layout.state,
            read_only=read_only or where.mode == "none",
            before=_NOTHING if found is None else found,
            state_before=state,
        )
        entered = Entered(place=place, again=step.retry.attempts > 1 and alone(where))
        if where.mode == "view" and (upstream or not read_only):
            lock_again(folder)
            self._take_up_view(step, entered, upstream)
        elif where.mode != "none":
            entered.known = self._keeper.trunk()
        if own_state and keeps_state(step) and state is not None:
            brought = settle(changes_of(self._blocks.before(step), STATE))
            entered.state = known_view(self._layout.state, folder / STATE, brought, state)
        if found is None and entered.place.workspace is not None:
            entered.place = replace(entered.place, before=scan(entered.place.workspace))
        with self._lock:
            self._entered[step.id] = entered
        return entered.place

    def _take_up_view(self, step: PlannedStep, entered: Entered, upstream: Sequence[Ended]) -> None:
        folder, name = view_folder(self._layout, step.index) / WORKSPACE, self._volume_name(step)
        if contained(step):
            self._volumes.make(name, folder)
        brought = settle(changes_of(upstream, WORKSPACE))
        entered.view = known_view(self._layout.workspace, folder, brought, entered.place.before)
        entered.place = replace(entered.place, workspace=folder, volume=name)
        entered.known = self._known(entered.view, upstream)

    def _volume_name(self, step: PlannedStep) -> str:
        return f"{self._context.object_name(self._run)}-s{step.index:02d}"

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
            remove_views(self._layout)
            return conflict

    def _ready(self, step: PlannedStep, where: Placement) -> Entered:
        """Make what a step works on."""
        upstream = self._blocks.upstream(where.upstream)
        read_only = step.workspace == "read-only"
        if where.mode == "none":
            place = Place(workspace=None, volume=None, state=self._layout.state, read_only=True, before=_NOTHING)
            entered = Entered(place=place)
        elif where.mode == "view" and (upstream or not read_only):
            entered = self._ready_view(step, upstream, read_only=read_only)
        else:
            known = self._trunk if alone(where) else None
            place = Place(
                workspace=self._layout.workspace,
                volume=self._context.object_name(self._run),
                state=self._layout.state,
                read_only=read_only,
                before=known or scan(self._layout.workspace),
            )
            entered = Entered(place=place, known=self._keeper.trunk())
        self._ready_state(step, where, entered)
        return entered

    def _ready_view(self, step: PlannedStep, upstream: Sequence[Ended], *, read_only: bool) -> Entered:
        """Make a step's own view of the workspace."""
        changes = changes_of(upstream, WORKSPACE)
        self._blocks.refuse(step, changes)
        folder = view_folder(self._layout, step.index) / WORKSPACE
        view = make_view(self._layout.workspace, folder, changes)
        name = self._volume_name(step)
        if contained(step):
            self._volumes.make(name, folder)
        return Entered(
            place=Place(
                workspace=folder, volume=name, state=self._layout.state, read_only=read_only, before=view.before
            ),
            view=view,
            known=self._known(view, upstream),
            notes=[f"step {step.id}: its view of the workspace has no {show_path(path)}" for path in view.left],
        )

    def _ready_state(self, step: PlannedStep, where: Placement, entered: Entered) -> None:
        """Make the state of a step: the run's own, a view of it, or an empty one that is not kept."""
        folder = view_folder(self._layout, step.index)
        if not contained(step):
            return
        if not keeps_state(step):
            remove_tree(folder / STATE)
            prepare_state(folder / STATE, self._run)
            entered.place = replace(entered.place, state=folder / STATE)
        elif not alone(where):
            upstream = changes_of(self._blocks.before(step), STATE)
            entered.state = make_view(self._layout.state, folder / STATE, upstream)
            entered.place = replace(entered.place, state=folder / STATE, state_before=entered.state.before)
        if alone(where):
            keep_found(self._layout, step, entered)

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

    def _keep(self, step: PlannedStep, entered: Entered, tree: TreeScan) -> tuple[Known | None, tuple[str, ...]]:
        """Keep what a step left in the history."""
        where, workspace = self._placements[step.id], entered.place.workspace
        if where.mode == "trunk" or workspace is None:
            return None, self._keeper.keep_trunk(step, None if where.shared else tree)
        return self._keeper.keep_view(step, workspace, tree, entered.known)

    def _take(self, step: PlannedStep, entered: Entered, tree: TreeScan | None, kept: Kept | None) -> None:
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
