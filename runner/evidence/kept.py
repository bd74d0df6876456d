"""Marks on runs that no rule of retention may remove: a small file each, beside the runs, with a word why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.evidence.atomic import storage_error, write_text

KEPT = ".kept"
"""Folder below the output folder; the mark of a run is `<framework>/<run_id>` in it and holds the note."""


def keep(output: Path, directory: str, note: str = "") -> None:
    """Mark a run, or mark it anew with another note.

    Args:
        output: folder of run directories.
        directory: the run's below it, `<framework>/<run_id>`.
        note: a word why.

    Raises:
        StorageError: if the mark cannot be written.
    """
    write_text(output / KEPT / directory, f"{note}\n" if note else "")


def release(output: Path, directory: str) -> bool:
    """Take a run's mark away; False if it had none.

    Raises:
        StorageError: if it cannot be removed.
    """
    mark = output / KEPT / directory
    try:
        mark.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(f"cannot remove {mark}", error) from error
    return True


def kept(output: Path) -> Mapping[str, str]:
    """Return the note of every run that is marked, by its directory.

    Raises:
        StorageError: if the marks cannot be read.
    """
    folder = output / KEPT
    try:
        marks = [path for path in sorted(folder.glob("*/*")) if path.is_file() and not path.name.startswith(".")]
        return {str(path.relative_to(folder)): path.read_text("utf-8", "replace").strip() for path in marks}
    except OSError as error:
        raise storage_error(f"cannot read {folder}", error) from error
