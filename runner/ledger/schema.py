"""The ledger's tables, as a list of migrations: version N is what the first N of them make."""

from __future__ import annotations

import sqlite3

from runner.errors import StorageError

APPLICATION_ID = 0x43475231
"""Marks a SQLite file as a ledger of this program (`PRAGMA application_id`); the bytes read CGR1."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE runs (
            digest TEXT PRIMARY KEY NOT NULL,
            run_id TEXT NOT NULL,
            experiment TEXT NOT NULL,
            framework TEXT NOT NULL,
            scenario TEXT NOT NULL,
            repetition INTEGER NOT NULL,
            directory TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'leased', 'done')),
            fence INTEGER NOT NULL DEFAULT 0,
            owner TEXT,
            leased_at TEXT,
            outcome TEXT,
            reason TEXT NOT NULL DEFAULT '',
            model_label TEXT NOT NULL DEFAULT '',
            started_at TEXT,
            finished_at TEXT,
            metrics TEXT NOT NULL DEFAULT '{}',
            CHECK ((state = 'leased') = (owner IS NOT NULL)),
            CHECK ((state = 'done') = (outcome IS NOT NULL))
        )
        """,
        """
        CREATE TABLE memberships (
            experiment TEXT NOT NULL,
            digest TEXT NOT NULL REFERENCES runs (digest) ON DELETE CASCADE,
            PRIMARY KEY (experiment, digest)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX runs_by_cell ON runs (framework, scenario, repetition)",
    ),
    (
        # SQLite cannot change a CHECK: the state stays `planned`, and a run that waits for people has something here.
        "ALTER TABLE runs ADD COLUMN waits_for TEXT NOT NULL DEFAULT '' CHECK (waits_for = '' OR state = 'planned')",
        "ALTER TABLE runs ADD COLUMN forked_from TEXT NOT NULL DEFAULT ''",
    ),
    (
        # Empty for a run that was entered before there was this column: its record says it.
        "ALTER TABLE runs ADD COLUMN images TEXT NOT NULL DEFAULT ''",
        # The order of a list, so that it needs no sorting; it serves the cells of `previous` too.
        "CREATE INDEX runs_in_order ON runs (framework, scenario, repetition, digest)",
        "DROP INDEX runs_by_cell",
        # Everything that runs are counted by: the rows themselves, with their metrics, are not read for it.
        "CREATE INDEX runs_by_outcome ON runs (outcome, state, waits_for, framework, scenario)",
        "CREATE INDEX runs_by_time ON runs (coalesce(started_at, leased_at, ''))",
    ),
)
"""Statements of each version. Never change one that was released: append another."""

VERSION = len(MIGRATIONS)


class UnusableLedger(StorageError):
    """The file is damaged, no ledger, or of a newer version: `rebuild` puts such a one aside and makes a new one."""


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring a database to this program's version; two processes at once are no problem.

    Args:
        connection: open database, in autocommit mode.
        name: what to call it in errors.

    Raises:
        UnusableLedger: if it is not a ledger, or of a version this program does not know.
    """
    if _version(connection, name) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again, because another process may have been quicker.
        for version in range(_version(connection, name), VERSION):
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            # Some errors, a full disk among them, end the transaction themselves.
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, name: str) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    empty = not connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0]
    if mark != APPLICATION_ID and not (empty and version == 0):
        raise UnusableLedger(
            f"{name} is not a ledger",
            why=f"it is a database of another program (application id {mark:#x})",
            hint="move it away, then `runner ledger rebuild` makes a ledger from the run directories",
        )
    if version > VERSION:
        raise UnusableLedger(
            f"{name} was written by a newer version of this program",
            why=f"its version is {version}, this program knows {VERSION}",
            hint="upgrade this program; or `runner ledger rebuild`, which keeps the file aside and makes one from the runs",
        )
    return version
