"""Remove runs for good: directory and ledger agree at every moment, whatever ends this process.

A run's directory is renamed out of sight first and emptied but for the record, then the ledger forgets the run, then the
rest goes. That order works on a full disk, where the ledger can only be written once something is deleted. A crash in
between leaves a hidden directory, which `finish_removals` finds: the run it holds is forgotten, and deleted. A rebuild,
which does not look at hidden directories, comes to the same.
"""

from __future__ import annotations

from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error, sync_folder
from runner.evidence.copying import remove_tree
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.ledger.rows import LedgerRow, directory_of
from runner.ledger.store import Ledger

REMOVED = ".removed"
"""Folder below the output folder where run directories are while they are being deleted, as `<framework>/<run_id>`."""


def remove_run(output: Path, ledger: Ledger, row: LedgerRow) -> None:
    """Remove a finished run, directory and row. Call it with the output folder claimed.

    Args:
        output: folder of run directories.
        ledger: that folder's.
        row: the run, as the ledger told it.

    Raises:
        StorageError: if its record says something else than the ledger, or it cannot be removed; a directory that could
            not be deleted whole is hidden then, and deleted by the next call of `finish_removals`.
    """
    root = output / row.directory
    _require_done(RunLayout(root), row)
    hidden = output / REMOVED / row.directory
    try:
        # What an interrupted removal of an earlier run of this name left.
        remove_tree(hidden)
        hidden.parent.mkdir(parents=True, exist_ok=True)
        root.rename(hidden)
        sync_folder(hidden.parent)
        sync_folder(root.parent)
    except OSError as error:
        raise storage_error(f"cannot remove {root}", error) from error
    _empty_but_record(hidden)
    ledger.forget(row.digest)
    _delete(output, hidden)


def finish_removals(output: Path, ledger: Ledger) -> tuple[str, ...]:
    """Finish what a crash left of removals. Call it with the output folder claimed.

    Returns:
        A sentence for each removal that could not be finished; it stays for the next time.
    """
    problems = []
    for hidden in unfinished_removals(output):
        record = _record(RunLayout(hidden))
        try:
            _empty_but_record(hidden)
            # A run that was carried out again meanwhile is not the one that was removed.
            if record is not None and record.run.digest and not (output / directory_of(record.run)).exists():
                ledger.forget(record.run.digest)
            _delete(output, hidden)
        except StorageError as error:
            problems.append(str(error))
    return tuple(problems)


def unfinished_removals(output: Path) -> list[Path]:
    """Return the hidden directories of runs whose removal was cut off."""
    return sorted((output / REMOVED).glob("*/*"))


def _require_done(layout: RunLayout, row: LedgerRow) -> None:
    record = _record(layout)
    if record is None or record.outcome is None or record.run.digest != row.digest or row.state != "done":
        raise StorageError(
            f"{row.directory} stays: by its record it is not the finished run that the ledger knows",
            where=str(layout.metadata),
            hint="runner ledger check",
        )


def _record(layout: RunLayout) -> RunRecord | None:
    try:
        return RunRecord.model_validate_json(layout.metadata.read_bytes())
    except (OSError, ValueError):
        return None


def _delete(output: Path, hidden: Path) -> None:
    """Delete what is left of a hidden directory, and the folders that are empty then."""
    remove_tree(hidden)
    for folder in (hidden.parent, output / REMOVED):
        try:
            folder.rmdir()
        except OSError:
            # Another run's is in it, or it is gone already.
            return


def _empty_but_record(hidden: Path) -> None:
    """Delete everything but the record, which says what the ledger has to forget."""
    for path in _inside(hidden):
        if path != RunLayout(hidden).metadata:
            remove_tree(path)


def _inside(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise storage_error(f"cannot list {folder}", error) from error
