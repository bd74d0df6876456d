"""A run beside the one that repeats it: the same, or where and in what they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.cli.console import Console
from runner.errors import ExitCode, StorageError
from runner.evidence.contents import Contents, differences, read_contents
from runner.evidence.history.parting import Pair, named, pairs
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.execution.replay import Recorded
from runner.plan.models import Run
from runner.report.exit_code import exit_code

_SHOWN = 10
"""Paths that are named where workspaces differ."""


@dataclass(frozen=True, kw_only=True)
class StepPair:
    """One step of both runs."""

    index: int
    step: str
    outcomes: tuple[str | None, str | None]
    """Null if a run has not got there."""
    workspaces: Pair | None
    """None if neither history keeps it."""

    @property
    def same(self) -> bool:
        """Whether nothing is known in which they differ."""
        return self.outcomes[0] == self.outcomes[1] and not (self.workspaces and self.workspaces.changes)

    def values(self) -> dict[str, Any]:
        """Return all of it for JSON; `workspace` is null where it cannot be compared."""
        compared = self.workspaces is not None and self.workspaces.kept
        changes = self.workspaces.changes if self.workspaces else ()
        return {
            "index": self.index,
            "step": self.step,
            "same": self.same,
            "outcome": {"recorded": self.outcomes[0], "replayed": self.outcomes[1]},
            "workspace": ("differs" if changes else "identical") if compared else None,
            "differences": [{"path": path, "how": how} for path, how in named(changes)],
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a run's repetition came to, beside the run itself."""

    recorded: RunRecord
    replayed: RunRecord
    directory: Path
    """Of the repetition."""
    before: Contents
    """Workspace of the recorded run."""
    after: Contents
    """Workspace of its repetition."""
    steps: tuple[StepPair, ...] = ()

    @property
    def differing(self) -> list[tuple[str, str]]:
        """Return the paths that differ in the end, each with how; the recorded run is the first."""
        return differences(self.before, self.after)

    @property
    def same(self) -> bool:
        """Whether outcome and final workspace are the same."""
        return self.recorded.outcome == self.replayed.outcome and self.before.sha256 == self.after.sha256

    @property
    def identical(self) -> bool:
        """Whether that is so, and every step came to the same."""
        return self.same and all(step.same for step in self.steps)

    @property
    def parting(self) -> StepPair | None:
        """Return the first step that did not come to the same."""
        return next((step for step in self.steps if not step.same), None)

    def values(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "run": self.recorded.run.id,
            "replay": self.replayed.run.id,
            "directory": str(self.directory),
            "same": self.same,
            "identical": self.identical,
            "parting": self.parting.step if self.parting else None,
            "outcome": {"recorded": self.recorded.outcome, "replayed": self.replayed.outcome},
            "reason": self.replayed.reason,
            "workspace_sha256": {"recorded": self.before.sha256, "replayed": self.after.sha256},
            "differences": [{"path": path, "how": how} for path, how in self.differing],
            "steps": [step.values() for step in self.steps],
        }


def compare(recorded: Recorded, output: Path, again: Run) -> Comparison:
    """Return a repetition beside the run it repeats.

    Args:
        recorded: the run.
        output: folder of run directories where it was repeated.
        again: the run as it was planned again.

    Raises:
        StorageError: if the repetition has left no record, or a workspace or a history cannot be read.
    """
    layout = RunLayout(output / again.framework.name / again.id)
    try:
        replayed = RunRecord.model_validate_json(layout.metadata.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"the replay left no record: {error}", where=str(layout.metadata)) from error
    return Comparison(
        recorded=recorded.record,
        replayed=replayed,
        directory=layout.root,
        before=recorded.contents(),
        after=read_contents(layout.workspace, again.exclude_files),
        steps=_steps(recorded.record, replayed, pairs(recorded.history, layout.history)),
    )


def exit_code_of(comparison: Comparison, *, same: bool) -> int:
    """Return the exit code of a repetition: what keeps it from being one outranks that it came to something else."""
    if same:
        return ExitCode.PASSED
    code = exit_code([comparison.replayed.outcome])
    return code if code in {ExitCode.BROKEN, ExitCode.INTERRUPTED} else ExitCode.FAILED


def say_outcome(console: Console, comparison: Comparison) -> None:
    """Say in what the outcomes differ, if they do."""
    recorded, replayed = comparison.recorded, comparison.replayed
    if recorded.outcome != replayed.outcome:
        reason = f": {replayed.reason}" if replayed.reason else ""
        console.result(f"the outcome differs: {recorded.outcome} when recorded, now {replayed.outcome}{reason}")


def say_workspaces(console: Console, comparison: Comparison) -> None:
    """Say in what the final workspaces differ, or that they do not."""
    if comparison.before.sha256 == comparison.after.sha256:
        console.result(f"the workspace is the same: {comparison.after.files} files, sha256 {comparison.after.sha256}")
        return
    differing = comparison.differing
    console.result(f"the workspace differs in {len(differing)} paths (first: recorded, second: replayed)")
    say_paths(console, differing)


def say_paths(console: Console, differing: Sequence[tuple[str, str]]) -> None:
    """Name the first of some paths, each with how it differs."""
    for path, how in differing[:_SHOWN]:
        console.result(f"  {path}: {how}")
    if len(differing) > _SHOWN:
        console.result(f"  and {len(differing) - _SHOWN} more")


def _steps(recorded: RunRecord, replayed: RunRecord, kept: Sequence[Pair]) -> tuple[StepPair, ...]:
    old, new = ({step.id: step.outcome for step in record.steps} for record in (recorded, replayed))
    by_number = {pair.number: pair for pair in kept}
    return tuple(
        StepPair(
            index=step.index,
            step=step.id,
            outcomes=(old.get(step.id), new.get(step.id)),
            workspaces=by_number.get(step.index),
        )
        for step in recorded.run.steps
    )
