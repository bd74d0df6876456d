"""What steps beside each other changed and is not in the run's workspace yet, and bringing it there."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runner.evidence.applying import apply
from runner.evidence.atomic import storage_error
from runner.evidence.copying import remove_tree
from runner.evidence.layout import RunLayout
from runner.evidence.merge import Changes, settle, without
from runner.evidence.tree import TreeScan, scan
from runner.execution.history import Keeper, Kept
from runner.execution.views import STATE, WORKSPACE, MergeConflict, collide, keep_sides, load_changes, view_folder
from runner.plan.graph import Placement, ancestors, placements
from runner.plan.models import PlannedStep, Run


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A step beside others that has ended, and whose changes are not merged yet."""

    changes: Mapping[str, Changes]
    """Of its views."""
    kept: Kept | None
    """None if the history has not got it."""


class Blocks:
    """The changes of one run that are not merged yet; safe in several threads as `Workspaces` uses it.

    Args:
        layout: where the run is.
        run: the run.
        keeper: is told what becomes of the run's workspace.
    """

    def __init__(self, layout: RunLayout, run: Run, keeper: Keeper) -> None:
        self._layout = layout
        self._run = run
        self._keeper = keeper
        self._placements: Mapping[str, Placement] = placements(run.steps)
        self._steps = {step.id: step for step in run.steps}
        self._lock = threading.Lock()
        self._ended: dict[str, Ended] = {}

    @cached_property
    def _ancestors(self) -> Mapping[str, frozenset[str]]:
        """Return the steps before each step: of a long line many, which nobody asks for."""
        return ancestors(self._run.steps)

    def add(self, step: PlannedStep, ended: Ended) -> None:
        """Take down that a step has ended."""
        with self._lock:
            self._ended[step.id] = ended

    def take_up(self, names: Iterable[str]) -> None:
        """Find what steps of a suspended run left that is not merged.

        Raises:
            StorageError: if it cannot be used.
        """
        for step in map(self._steps.__getitem__, names):
            if changes := load_changes(self._layout, (step.id, step.index)):
                kept = self._keeper.kept(step) if WORKSPACE in changes else None
                self._ended[step.id] = Ended(changes=changes, kept=kept)
        if any(where.mode != "trunk" or where.shared for where in self._placements.values()):
            unmerged = [name for name, one in self._ended.items() if WORKSPACE in one.changes]
            self._keeper.resume(self._placements, self._steps, unmerged)

    def upstream(self, names: Iterable[str]) -> Sequence[Ended]:
        """Return those of some steps that have changed the workspace and are not merged."""
        with self._lock:
            found = [self._ended[one] for one in names if one in self._ended]
        return [one for one in found if WORKSPACE in one.changes and one.changes[WORKSPACE].paths]

    def before(self, step: PlannedStep) -> Sequence[Ended]:
        """Return the steps that are not merged and that a step has to wait for."""
        with self._lock:
            return [one for name, one in self._ended.items() if name in self._ancestors[step.id]]

    def refuse(self, step: PlannedStep, changes: Sequence[Changes]) -> None:
        """Refuse changes that a step needs together and that exclude each other, keeping both sides of each.

        Raises:
            MergeConflict: if some do.
            StorageError: if they cannot be compared, or a side cannot be kept.
        """
        if found := collide(changes, self._beside):
            folder = self._layout.step(step.index).conflicts
            keep_sides(folder, found)
            raise MergeConflict(found, folder, self._layout.root)

    def merge(self, step: PlannedStep, block: int) -> tuple[TreeScan | None, list[str]]:
        """Merge all changes of the blocks before one, when a later step is to begin.

        Args:
            step: that step.
            block: the first block that is left alone.

        Returns:
            The run's workspace, if that changed it; and notes.

        Raises:
            MergeConflict: if changes exclude each other; nothing is merged then.
            StorageError: if something cannot be read or written.
        """
        with self._lock:
            merged = {name: one for name, one in self._ended.items() if self._placements[name].block < block}
        if not merged:
            return None, []
        changes = changes_of(merged.values(), WORKSPACE)
        self.refuse(step, changes)
        chosen = settle(changes)
        with self._merging(merged):
            apply(self._layout.workspace, chosen, move=True)
            tree = scan(self._layout.workspace)
            self._keeper.merged(tree, chosen, {name: one.kept for name, one in merged.items() if one.kept is not None})
            notes = self._merge_state(merged.values())
        with self._lock:
            for name in merged:
                del self._ended[name]
        return tree, notes

    def finish(self) -> tuple[MergeConflict | None, list[str]]:
        """Merge all that is left, at the end of the run.

        Returns:
            Where steps excluded each other, if they did: all else is merged, and there the workspace stays as it was.
            And notes.

        Raises:
            StorageError: if something cannot be read or written.
        """
        conflict, changes = None, changes_of(self._ended.values(), WORKSPACE)
        if found := collide(changes, self._beside):
            keep_sides(self._layout.conflicts, found)
            conflict = MergeConflict(found, self._layout.conflicts, self._layout.root)
        with self._merging(self._ended):
            apply(self._layout.workspace, without(settle(changes), found), move=True)
            notes = self._merge_state(self._ended.values())
        self._ended.clear()
        return conflict, notes

    @contextmanager
    def _merging(self, names: Collection[str]) -> Iterator[None]:
        """Merge inside the block, and remove the views of these steps; a runner that ends in between leaves a mark.

        Files are moved, so that what is half merged can be neither merged again nor put back.
        """
        mark = merging_mark(self._layout)
        try:
            if names:
                mark.touch()
            yield
            for name in names:
                remove_tree(view_folder(self._layout, self._steps[name].index))
            mark.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(f"cannot write to {self._layout.views}", error) from error

    def _merge_state(self, ended: Iterable[Ended]) -> list[str]:
        """Merge changes of the state; where steps exclude each other, the later one in the plan prevails."""
        changes = changes_of(ended, STATE)
        found = collide(changes, self._beside)
        apply(self._layout.state, settle(changes), move=True)
        return [f"state: what the later step left counts where steps exclude each other: {one}" for one in found]

    def _beside(self, one: Changes, other: Changes) -> bool:
        """Tell whether neither of two steps comes before the other."""
        return one.step not in self._ancestors[other.step] and other.step not in self._ancestors[one.step]


def merging_mark(layout: RunLayout) -> Path:
    """Return the file that is there while changes of steps are moved into the run's workspace."""
    return layout.views / "merging"


def changes_of(ended: Iterable[Ended], key: str) -> list[Changes]:
    """Return the changes of one sort of view, by position of the steps."""
    return sorted((one.changes[key] for one in ended if key in one.changes), key=lambda one: one.index)
