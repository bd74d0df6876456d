"""Find what is to be replayed: run directories and archives, and which of them each planned run is to repeat."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ConfigError, RunnerError, StorageError
from runner.evidence.contents import Contents, archived_contents, read_contents
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.unpack import below, unpack
from runner.gateway.recording import BODIES, CALLS, METADATA, Recording, digest, load_recording
from runner.plan.models import Run

Cell = tuple[str, str, int]
"""Framework, scenario, repetition."""

_ARCHIVES = ("*.tar.zst", "*.tar.gz")
_DEPTH = 2
"""Levels of folders between a folder of runs and a run: the framework's, and its own."""
_NAMED = 5
_MOST = 64 * 1024**3
"""Bytes that are taken out of an archive."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A run that may be replayed."""

    folder: Path
    """Where its record and calls are; of an archive a private copy."""
    place: Path
    """What the user knows it by: its directory or its archive."""
    record: RunRecord

    @property
    def cell(self) -> Cell:
        """Return what it is a run of."""
        return cell_of(self.record.run)

    @property
    def history(self) -> Path:
        """Return where the history of its workspace is, if there is one."""
        return RunLayout(self.folder).history

    def contents(self) -> Contents:
        """Return what is in its workspace.

        Raises:
            StorageError: if it cannot be read.
        """
        if self.place.is_dir():
            return read_contents(RunLayout(self.place).workspace, self.record.run.exclude_files)
        return archived_contents(self.place, RunLayout(self.place).workspace.name)


@contextlib.contextmanager
def recorded_runs(place: Path) -> Iterator[Sequence[Recorded]]:
    """Find recorded runs; of archives, record, calls and history are unpacked for as long as the block lasts.

    Args:
        place: a run's directory, an archive, or a folder of either, as `runner go` leaves one.

    Raises:
        ConfigError: if there is no run.
        StorageError: if an archive is damaged, or a record cannot be read.
    """
    with contextlib.ExitStack() as stack:
        folders = [(_opened(one, stack), one) for one in _places(place)]
        if not folders:
            raise ConfigError(
                f"{place} holds no run",
                why="no metadata.json, run.tar.zst or run.tar.gz is in it or in the folders below it",
                hint="name a run's directory, its archive, or a folder of runs",
            )
        yield [Recorded(folder=folder, place=one, record=_read_record(folder, one)) for folder, one in folders]


def find_recordings(runs: Sequence[Run], found: Sequence[Recorded]) -> Mapping[Cell, Recording]:
    """Return the recording that each planned run with a model is to repeat.

    Several runs of the same framework, scenario and repetition: the one that is most like the planned run counts, by
    prompts, model, image, having passed, and time, in this order.

    Raises:
        ConfigError: naming every run that has none; or if one cannot be replayed.
    """
    chosen: dict[Cell, Recorded] = {}
    missing: list[Cell] = []
    for run in runs:
        if run.model is None:
            continue
        fits = [one for one in found if one.cell == cell_of(run) and one.record.run.model is not None]
        if fits:
            chosen[cell_of(run)] = max(fits, key=_likeness(run))
        else:
            missing.append(cell_of(run))
    if missing:
        raise _missing(missing, found)
    return {cell: load_recording(one.folder) for cell, one in chosen.items()}


def digests(recordings: Mapping[Cell, Recording]) -> dict[Cell, str]:
    """Return the digest of each recording, for the plan."""
    return {cell: digest(recording) for cell, recording in recordings.items()}


def folders_by_digest(runs: Sequence[Run], recordings: Mapping[Cell, Recording]) -> dict[str, Path]:
    """Return the folder of the recording that each run repeats, by the run's digest."""
    return {
        run.digest: recordings[cell_of(run)].folder
        for run in runs
        if run.digest is not None and cell_of(run) in recordings
    }


def cell_of(run: Run) -> Cell:
    """Return what a run is a run of."""
    return run.framework.name, run.scenario, run.repetition


def unpack_recording(archive: Path, target: Path) -> None:
    """Take a run's record, its calls with their bodies and its history out of an archive; everything else stays in it.

    Raises:
        StorageError: if any of the archive is damaged, or what is taken out is too large.
    """
    target.mkdir(parents=True, exist_ok=True)
    unpack(archive, target, below(METADATA, CALLS, BODIES, RunLayout(target).history.name), most=_MOST)
    (target / BODIES).mkdir(parents=True, exist_ok=True)


def _places(place: Path) -> list[Path]:
    """Return the run directories and archives that a place means; an archive beside its directory is not looked at."""
    if not place.is_dir():
        return [place] if place.is_file() else []
    return list(_below(place, _DEPTH))


def _below(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / METADATA).is_file():
        yield folder
        return
    yield from sorted(one for pattern in _ARCHIVES for one in folder.glob(pattern) if one.is_file())
    if depth:
        for one in sorted(folder.iterdir()):
            if one.is_dir() and not one.is_symlink() and not one.name.startswith("."):
                yield from _below(one, depth - 1)


def _opened(place: Path, stack: contextlib.ExitStack) -> Path:
    if place.is_dir():
        return place
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runner-replay-")))
    unpack_recording(place, folder)
    return folder


def _read_record(folder: Path, place: Path) -> RunRecord:
    try:
        return RunRecord.model_validate_json((folder / METADATA).read_bytes())
    except OSError as error:
        raise ConfigError(f"{place} holds no run: {error.strerror}", hint="name a run's directory or archive") from None
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise StorageError("the record of a run cannot be read", where=str(place), why=first) from None


def _likeness(run: Run) -> Callable[[Recorded], tuple[bool, bool, bool, bool, str]]:
    def like(one: Recorded) -> tuple[bool, bool, bool, bool, str]:
        old = one.record.run
        return (
            [step.prompt_sha256 for step in old.steps] == [step.prompt_sha256 for step in run.steps],
            old.model is not None and run.model is not None and old.model.name == run.model.name,
            old.image.id == run.image.id,
            one.record.outcome == "passed",
            one.record.started_at,
        )

    return like


def _missing(missing: Sequence[Cell], found: Sequence[Recorded]) -> RunnerError:
    names = [f"{framework} on {scenario}, repetition {number}" for framework, scenario, number in missing]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    held = sorted({f"{one.cell[0]} on {one.cell[1]}, repetition {one.cell[2]}" for one in found})
    held_more = f" and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    return ConfigError(
        f"no recording of {'; '.join(names[:_NAMED])}{more}",
        why=f"recorded with a model: {'; '.join(held[:_NAMED])}{held_more}",
        hint="narrow with --framework, --scenario or --repetitions, or replay one run as it was: runner replay RUN",
    )
