"""Put a run directory aside instead of deleting it, when its run is done anew."""

from __future__ import annotations

import glob
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error, sync_folder

SUPERSEDED = ".superseded"
"""Folder below the output folder where earlier run directories are kept, as `<framework>/<run_id>.<n>`."""


def set_aside(output: Path, root: Path) -> Path:
    """Move a run directory out of the way in one step, deleting nothing.

    Args:
        output: folder of run directories.
        root: run directory below it, `<framework>/<run_id>`.

    Returns:
        Where it is now; `n` counts from 1, several processes at once never take the same.

    Raises:
        StorageError: if it cannot be moved, or is none of the output folder's run directories.
    """
    try:
        framework, name = root.relative_to(output).parts
    except ValueError as error:
        raise StorageError(
            f"{root} is no run directory of {output}",
            why="a run directory is <output>/<framework>/<run_id>",
            hint="choose its output folder with --output",
        ) from error
    shelf = output / SUPERSEDED / framework
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        kept = _claim(shelf, name)
        try:
            # A folder may be renamed over an empty one: nobody else can have taken the place in between.
            root.rename(kept)
        except OSError:
            kept.rmdir()
            raise
        sync_folder(shelf)
        sync_folder(root.parent)
    except OSError as error:
        raise storage_error(f"cannot put {root} aside", error) from error
    return kept


def earlier(output: Path, directory: str) -> list[Path]:
    """Return the directories that were put aside for a run, oldest first.

    Args:
        output: folder of run directories.
        directory: the run's own below it, `<framework>/<run_id>`.
    """
    place = output / SUPERSEDED / directory
    found = {
        path: path.name.removeprefix(f"{place.name}.") for path in place.parent.glob(f"{glob.escape(place.name)}.*")
    }
    return sorted((path for path, number in found.items() if number.isdecimal()), key=lambda path: int(found[path]))


def _claim(shelf: Path, name: str) -> Path:
    """Make the first free numbered folder, empty."""
    number = 1
    while True:
        place = shelf / f"{name}.{number}"
        try:
            place.mkdir()
        except FileExistsError:
            number += 1
        else:
            return place
