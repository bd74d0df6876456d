"""One SQLite file, opened so that several processes can share it, and its errors in our words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error
from runner.ledger.schema import UnusableLedger, migrate

_BUSY_SECONDS = 30.0
"""How long one process waits for another's transaction; each of ours takes milliseconds."""
_NETWORK_KINDS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "glusterfs", "beegfs"}
_MOUNTS = Path("/proc/self/mountinfo")
_REBUILD = "`runner ledger rebuild` keeps the file aside and makes a new one from the run directories; no run is lost"


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger file, made and migrated if need be, and close it at the end.

    Write-ahead logging lets readers read while one writes; it needs shared memory, which a network file system does
    not have, so there the classic journal is used. A power cut may lose the last commits and never the file: what is
    lost is found again in the run directories.

    Raises:
        StorageError: if it cannot be opened, is damaged, is no ledger or of a newer version.
    """
    with translated(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(f"cannot make {path.parent}", error) from error
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = NORMAL")
            migrate(connection, str(path))
            _choose_journal(connection, path)
        except BaseException:
            connection.close()
            raise
    try:
        yield connection
    finally:
        with translated(path):
            connection.close()


def _choose_journal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to the journal that suits the file system; the choice stays in the file."""
    wanted = "delete" if network_file_system(path.parent) else "wal"
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
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite raises in the block into a StorageError that says what to do.

    Result codes are those of https://www.sqlite.org/rescode.html; the low byte is the primary one.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        what, hint = _WORDS.get(code, ("cannot be used", "`runner ledger check` says more"))
        kind = UnusableLedger if hint is _REBUILD else StorageError
        raise kind(f"the ledger {path} {what}", why=f"SQLite says: {error}", hint=hint) from error


_WORDS = {
    sqlite3.SQLITE_CORRUPT: ("is damaged", _REBUILD),
    sqlite3.SQLITE_NOTADB: ("is damaged", _REBUILD),
    sqlite3.SQLITE_FULL: ("cannot be written: the disk is full", "free some space; `runner clean` shows what can go"),
    sqlite3.SQLITE_READONLY: ("cannot be written", "check the owner and the permissions of the file and its folder"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check the owner and the permissions of the file and its folder"),
    sqlite3.SQLITE_PERM: ("cannot be opened", "check the owner and the permissions of the file and its folder"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "check the disk: `runner doctor`"),
    sqlite3.SQLITE_BUSY: (
        f"is held by another process for more than {_BUSY_SECONDS:g} s",
        "try again; if it stays so, look for a stopped `runner` process",
    ),
}


def network_file_system(folder: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of network file system a folder is on, like `nfs4`; None if it is local or not known.

    Args:
        folder: the folder.
        mounts: table of mounts in the format of `/proc/self/mountinfo` (proc(5)).
    """
    place = os.fsencode(os.path.realpath(folder))
    best, kind = b"", b""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        # Blanks in a mount point are written in octal.
        point = fields.split(b" ")[4].replace(b"\\040", b" ")
        inside = place == point or place.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= len(best):
            best, kind = point, rest.split(b" ")[0]
    name = kind.decode("ascii", "replace")
    return name if name in _NETWORK_KINDS or name.startswith("fuse.sshfs") else None
