"""Runs as they lie on disk, read as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.cli.finding import Place, read_record
from runner.errors import ConfigError
from runner.evidence.history.diff import Change, differences, state
from runner.evidence.history.oci import KeptStep, read_steps
from runner.evidence.history.restore import restore
from runner.evidence.layout import RunLayout
from runner.evidence.measures.again import newest_totals
from runner.evidence.readings import Number
from runner.evidence.records import METRIC_NAMES, RunRecord, StepRecord

Row = Mapping[str, str | Number | None]
"""A flat line of a table."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run that has ended, or waits for people, with the files it left."""

    path: Path
    record: RunRecord
    metrics: Mapping[str, Number | None]
    """Totals by the names of `metrics.json`, quality as the newest verdicts have it; what was not measured is None."""

    @property
    def outcome(self) -> str | None:
        """Its verdict; None while it is not finished."""
        return self.record.outcome

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """Its steps that have ended, in order of position."""
        return self.record.steps

    @property
    def workspace(self) -> Path:
        """Folder of the workspace as it is now."""
        return RunLayout(self.path).workspace

    def open(self, step: str | int, target: str | Path) -> Path:
        """Write the workspace as a step left it into a new folder.

        Args:
            step: its id or its number.
            target: must not exist, or be an empty folder.

        Returns:
            The folder.

        Raises:
            ConfigError: if no such step is kept, or there is something at `target`.
            StorageError: if the history is damaged, or the folder cannot be written.
        """
        folder = Path(target).absolute()
        restore(RunLayout(self.path).history, _kept(self, step), folder)
        return folder

    def diff(self, old: str | int, new: str | int, *, other: RunResult | None = None) -> tuple[Change, ...]:
        """Return the paths that differ between two steps, sorted by their bytes.

        Args:
            old: id or number of a step of this run.
            new: id or number of a step of `other`.
            other: another run; by default this one.

        Raises:
            ConfigError: if no such step is kept.
            StorageError: if the history is damaged.
        """
        second = other or self
        before = state(RunLayout(self.path).history, _kept(self, old))
        return differences(before, state(RunLayout(second.path).history, _kept(second, new)))

    def to_row(self) -> Row:
        """Return the run as one flat line: what it is, what became of it, and its totals."""
        run = self.record.run
        return {
            "framework": run.framework.name,
            "scenario": run.scenario,
            "repetition": run.repetition,
            "seed": run.seed,
            "run": run.id,
            "model": self.record.model_label,
            "outcome": self.record.outcome,
            "reason": self.record.reason,
            **{name: self.metrics.get(name) for name in METRIC_NAMES},
        }


def load_run(path: str | Path) -> RunResult:
    """Read a run from its directory.

    Args:
        path: a run directory, the folder with `metadata.json`.

    Raises:
        StorageError: if it has no record, or one that cannot be understood.
    """
    folder = Path(path).absolute()
    layout = RunLayout(folder)
    place = Place(framework=folder.parent.name, run_id=folder.name, layout=layout)
    return RunResult(path=folder, record=read_record(place), metrics=newest_totals(layout))


def _kept(run: RunResult, step: str | int) -> KeptStep:
    kept: Sequence[KeptStep] = read_steps(RunLayout(run.path).history)
    for one in kept:
        if str(step) in {one.id, str(one.number)}:
            return one
    names = ", ".join(one.id for one in kept) or "none"
    raise ConfigError(f"the history of {run.record.run.id} has no step {step!r}", why=f"it keeps: {names}")
