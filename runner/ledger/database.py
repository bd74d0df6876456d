"""One SQLite file, opened so that several processes can share it, and its errors in our words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error
from runner.ledger.mounts import mounted, require_locks
from runner.ledger.schema import UnusableLedger, migrate

_BUSY_SECONDS = 30.0
"""How long one process waits for another's transaction; each of ours takes milliseconds."""
_NO_SHARED_MEMORY = {
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMMAP,
}
_REBUILD = "`runner ledger rebuild` keeps the file aside and makes a new one from the run directories; no run is lost"


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger file, made and migrated if need be, and close it at the end.

    Write-ahead logging lets readers read while one writes; it needs shared memory, which a network file system does
    not have, so there the classic journal is used; where not even locks hold, the ledger is refused. A power cut may
    lose the last commits and never the file: what is lost is found again in the run directories.

    Raises:
        StorageError: if it cannot be opened, is damaged, is no ledger or of a newer version, or locks do not hold.
    """
    require_locks(path)
    with translated(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(f"cannot make {path.parent}", error) from error
        try:
            connection = _open(path)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _NO_SHARED_MEMORY:
                raise
            # A full disk has no room for the file that several share the ledger by; what makes room needs the ledger.
            connection = _open(path, alone=True)
    try:
        yield connection
    finally:
        with translated(path):
            connection.close()


def _open(path: Path, *, alone: bool = False) -> sqlite3.Connection:
    """Open and migrate; `alone` shuts other processes out meanwhile, and needs no shared memory for that reason."""
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if alone:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        migrate(connection, str(path))
        _choose_journal(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _choose_journal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to the journal that suits the file system; the choice stays in the file."""
    wanted = "delete" if mounted(path.parent).network else "wal"
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == wanted:
        return
    try:
        connection.execute(f"PRAGMA journal_mode = {wanted}")
    except sqlite3.OperationalError as error:
        # The switch needs the file for itself and does not wait: another process is at it. Either journal is safe.
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Make the block one transaction, which waits for its turn at the beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            # Some errors, a full disk among them, end the transaction themselves; a failed commit leaves it open.
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite raises in the block into a StorageError that says what to do.

    Result codes are those of https://www.sqlite.org/rescode.html; the low byte is the primary one.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        what, hint = _WORDS.get(code) or _WORDS.get(code & 0xFF, ("cannot be used", "`runner ledger check` says more"))
        kind = UnusableLedger if hint is _REBUILD else StorageError
        raise kind(f"the ledger {path} {what}", why=f"SQLite says: {error}", hint=hint) from error


_UNLOCKABLE = ("cannot be locked where it is", "choose a folder on a disk of this machine with `--output`")
_WORDS = {
    sqlite3.SQLITE_CORRUPT: ("is damaged", _REBUILD),
    sqlite3.SQLITE_NOTADB: ("is damaged", _REBUILD),
    sqlite3.SQLITE_FULL: ("cannot be written: the disk is full", "free some space; `runner clean` shows what can go"),
    sqlite3.SQLITE_READONLY: ("cannot be written", "check the owner and the permissions of the file and its folder"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check the owner and the permissions of the file and its folder"),
    sqlite3.SQLITE_PERM: ("cannot be opened", "check the owner and the permissions of the file and its folder"),
    sqlite3.SQLITE_IOERR_LOCK: _UNLOCKABLE,
    sqlite3.SQLITE_IOERR_RDLOCK: _UNLOCKABLE,
    sqlite3.SQLITE_IOERR_WRITE: ("cannot be written", "check the disk and your quota on it: `runner doctor`"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "check the disk: `runner doctor`"),
    sqlite3.SQLITE_BUSY: (
        f"is held by another process for more than {_BUSY_SECONDS:g} s",
        "try again; if it stays so, look for a stopped `runner` process",
    ),
}
