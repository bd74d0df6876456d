"""Keep the workspace after each step of a run, whatever the step came to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.excludes import split
from runner.evidence.history.forget import keep_only
from runner.evidence.history.index import Index
from runner.evidence.history.layer import stacked
from runner.evidence.history.oci import KeptStep, read_base, read_index
from runner.evidence.history.seen import Seen
from runner.evidence.history.snapshot import History, Known, keep, known_after, open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.merge import Changes
from runner.evidence.tree import TreeScan, scan
from runner.evidence.walk import Entry, RawPath
from runner.execution.bulk import require_bounded
from runner.execution.copies import keep_copy
from runner.execution.views import seen_in
from runner.plan.graph import Placement
from runner.plan.models import PlannedStep, Run

_MOST_SIBLINGS = 64
"""Runs of the same framework and scenario that are asked for an equal layer."""
_LOOKS = 3
"""Times that a workspace is looked at which other steps may be writing to."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a step beside others found and left, as the history knows it."""

    found: Known
    after: Known


class Keeper:
    """Keeps steps of one run; safe in several threads, as long as no two have the trunk to themselves.

    What goes wrong is a note: it changes no outcome, and the next step is compared with the last one kept.

    Args:
        layout: where the run is.
        run: the run.
    """

    def __init__(self, layout: RunLayout, run: Run) -> None:
        self._layout = layout
        self._run = run
        self._lock = threading.Lock()
        self._history: History | None = None
        self.off = run.history == "off"

    def trunk(self) -> Known:
        """Return what is known of the run's workspace; nothing if there is no history that can be used."""
        try:
            return Known() if self.off else self._open().last
        except StorageError:
            return Known()

    def trunk_step(self) -> KeptStep | None:
        """Return the step that left the run's workspace as it was when it was last kept; None if no single one did."""
        try:
            history = None if self.off else self._open()
        except StorageError:
            return None
        numbers = history.last.numbers if history is not None else ()
        return next((one for one in history.steps if one.numbers == numbers), None) if history and numbers else None

    def forget_others(self, indexes: Collection[int]) -> None:
        """Take out of the history what steps left that are not done: they are kept again when they are.

        Args:
            indexes: positions of the steps that are done, and 0 for what the run was given.

        Raises:
            StorageError: if the history cannot be read or written.
        """
        with self._lock:
            self._history = None
            keep_only(self._layout.history, indexes)

    def keep_trunk(self, step: PlannedStep, tree: TreeScan | None) -> tuple[str, ...]:
        """Keep the run's workspace after a step; without a scan, while other steps may be writing to it."""
        return self._keep(step, lambda history: self._take(history, step, tree))

    def keep_view(
        self, step: PlannedStep, workspace: Path, tree: TreeScan, found: Known
    ) -> tuple[Known | None, tuple[str, ...]]:
        """Keep a step's own view of the workspace, or what a step without the right to write has read.

        Returns:
            What is known of the view now, None if it could not be kept; and notes.
        """
        after: list[Known] = []

        def take(history: History) -> tuple[str, ...]:
            rest, left_out = split(tree, self._run.exclude_files)
            require_bounded(step, rest)
            known, notes = keep(history, workspace, rest, (step.index, step.id), found, left_out=left_out, alone=False)
            after.append(known)
            return notes

        notes = self._keep(step, take)
        return (after[0] if after else None), notes

    def merged(self, tree: TreeScan, chosen: Mapping[RawPath, Changes], kept: Mapping[str, Kept]) -> None:
        """Take down that changes of steps have been moved into the run's workspace.

        Args:
            tree: the workspace now.
            chosen: whose file was moved, by path.
            kept: what the history knows of the steps, by id.
        """
        if self._history is None:
            return
        trunk = known = self._history.last
        for one in sorted(kept.values(), key=lambda one: one.after.numbers[-1]):
            known = put_upon(known, one)

        def source(path: RawPath) -> tuple[Seen | None, Entry | None]:
            changes = chosen.get(path)
            if changes is None:
                return trunk.seen.get(path), tree.entries.get(path)
            return seen_by(kept.get(changes.step), path), changes.after.get(path)

        self._history.last = replace(known, seen=seen_in(known.index, tree, source))

    def resume(
        self, placed: Mapping[str, Placement], steps: Mapping[str, PlannedStep], unmerged: Collection[str]
    ) -> None:
        """Find out what of a run that goes on is in its workspace, where steps ran beside each other.

        Args:
            placed: where each step works.
            steps: the run's steps, by id.
            unmerged: steps whose changes are still in their own views.
        """
        if self.off:
            return
        try:
            history = self._open()
            history.last = _resumed(
                history, placed, {*unmerged, *(one for one in steps if steps[one].workspace != "own")}
            )
        except StorageError:
            return  # said again, and then in a note, when the next step is to be kept

    def kept(self, step: PlannedStep) -> Kept | None:
        """Return what is known of a step that ended before the run was suspended; None if it is not kept."""
        try:
            found = None if self.off else next((one for one in self._open().steps if one.id == step.id), None)
            return None if found is None else _kept(self._layout.history, found)
        except StorageError:
            return None

    def _keep(self, step: PlannedStep, take: Callable[[History], tuple[str, ...]]) -> tuple[str, ...]:
        if self.off:
            return ()
        try:
            history = self._open()
            notes = take(history)
        except StorageError as error:
            return (f"step {step.id}: its workspace is not in the history: {error}",)
        (kept,) = (one for one in history.steps if one.number == step.index)
        return tuple(f"step {step.id}: {note}" for note in (*notes, *keep_copy(self._layout, self._run, kept)))

    def _take(self, history: History, step: PlannedStep, tree: TreeScan | None) -> tuple[str, ...]:
        looks = 1 if tree is not None else _LOOKS
        with self._lock:
            while True:
                looks -= 1
                rest, left_out = split(tree or scan(self._layout.workspace), self._run.exclude_files)
                require_bounded(step, rest)
                try:
                    return take_snapshot(history, self._layout.workspace, rest, step.index, step.id, left_out=left_out)
                except StorageError:
                    if not looks:
                        raise

    def _open(self) -> History:
        with self._lock:
            if self._history is None:
                self._history = open_history(self._layout.history, _siblings(self._layout, self._run))
            return self._history


def put_upon(known: Known, kept: Kept) -> Known:
    """Return what is known of a workspace that gets a step's changes on top of what it has."""
    old, new = kept.found.index, kept.after.index
    nodes = stacked(known.index.nodes, old.nodes, new.nodes)
    gone = {one.path for one in old.skipped} - {one.path for one in new.skipped}
    skipped = {one.path: one for one in (*known.index.skipped, *new.skipped) if one.path not in gone}
    return Known(
        index=Index(nodes=nodes, skipped=tuple(skipped[path] for path in sorted(skipped))),
        numbers=(*known.numbers, kept.after.numbers[-1]),
        seen=known.seen,
    )


def seen_by(kept: Kept | None, path: RawPath) -> Seen | None:
    """Return what a file looked like when a step's workspace was kept; None if it was not."""
    return None if kept is None else kept.after.seen.get(path)


def _resumed(history: History, placed: Mapping[str, Placement], apart: Collection[str]) -> Known:
    """Return what a run's workspace holds: what its last step left that worked in it, and what was merged since."""
    folder = history.blobs.history
    inside = [one for one in history.steps if one.id not in placed or placed[one.id].mode == "trunk"]
    last = max(inside, key=lambda one: len(one.numbers), default=None)
    known = Known() if last is None else known_after(folder, last)
    for one in history.steps:
        if one.number not in known.numbers and one.id not in apart and placed[one.id].mode == "view":
            known = put_upon(known, _kept(folder, one))
    return known


def _kept(folder: Path, step: KeptStep) -> Kept:
    found = Known(index=read_base(folder, step), numbers=step.numbers[:-1], blob=step.base)
    return Kept(found=found, after=Known(index=read_index(folder, step), numbers=step.numbers, blob=step.index))


def _siblings(layout: RunLayout, run: Run) -> list[Path]:
    """Return the histories of other repetitions, which often have equal layers."""
    prefix = f"{run.scenario}-r"
    others = sorted(layout.root.parent.glob(f"{prefix}*"))
    return [RunLayout(one).history for one in others if one != layout.root][-_MOST_SIBLINGS:]
