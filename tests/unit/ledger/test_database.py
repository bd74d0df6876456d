"""A ledger that cannot be used says why, and what to type."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from runner.errors import ExitCode, StorageError
from runner.ledger.database import connected, transaction, translated
from runner.ledger.mounts import mounted, require_locks
from runner.ledger.schema import APPLICATION_ID, MIGRATIONS, VERSION, UnusableLedger
from runner.ledger.store import ledger_path, open_ledger

MOUNTS = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,relatime - nfs4 server:/home rw
31 30 0:41 / /home/my\040disk rw - xfs /dev/sdb1 rw
32 22 0:42 / /homestead rw - tmpfs tmpfs rw
"""


def _open(folder: Path) -> None:
    with open_ledger(ledger_path(folder)) as ledger:
        ledger.rows()


def test_new_ledger_is_marked(tmp_path: Path) -> None:
    """A new ledger carries its version and the program's mark, and lets readers and a writer work together."""
    _open(tmp_path)
    connection = sqlite3.connect(ledger_path(tmp_path))
    answers = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("user_version", "application_id", "journal_mode")
    ]
    connection.close()
    assert answers == [VERSION, APPLICATION_ID, "wal"]


def test_newer_ledger_is_refused(tmp_path: Path) -> None:
    """A ledger of a newer version is left as it is, and the message names both versions."""
    _open(tmp_path)
    connection = sqlite3.connect(ledger_path(tmp_path))
    connection.execute(f"PRAGMA user_version = {VERSION + 7}")
    connection.close()
    with pytest.raises(UnusableLedger) as caught:
        _open(tmp_path)
    assert caught.value.exit_code is ExitCode.STORAGE
    assert caught.value.what == f"{ledger_path(tmp_path)} was written by a newer version of this program"
    assert caught.value.why == f"its version is {VERSION + 7}, this program knows {VERSION}"
    assert "runner ledger rebuild" in caught.value.hint


def test_foreign_database_is_refused(tmp_path: Path) -> None:
    """Another program's database is not written to."""
    connection = sqlite3.connect(ledger_path(tmp_path))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = ledger_path(tmp_path).read_bytes()
    with pytest.raises(UnusableLedger, match="is not a ledger"):
        _open(tmp_path)
    assert ledger_path(tmp_path).read_bytes() == before


def test_file_that_is_no_database(tmp_path: Path) -> None:
    """A file of other content is called damaged, with the way out."""
    ledger_path(tmp_path).write_bytes(b"not a database, " * 100)
    with pytest.raises(UnusableLedger, match="is damaged") as caught:
        _open(tmp_path)
    assert caught.value.hint.startswith("`runner ledger rebuild`")


def test_damaged_pages(tmp_path: Path) -> None:
    """Damage inside the file shows when it is read, with the way out."""
    _open(tmp_path)
    data = bytearray(ledger_path(tmp_path).read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    ledger_path(tmp_path).write_bytes(data)
    with pytest.raises(UnusableLedger, match="is damaged"):
        _open(tmp_path)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """An output folder that cannot be made is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot make .*/file/runs"):
        _open(tmp_path / "file" / "runs")


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """A ledger that cannot be opened, here because it is a folder, is no reason to rebuild."""
    ledger_path(tmp_path).mkdir()
    with pytest.raises(StorageError, match="cannot be opened") as caught:
        _open(tmp_path)
    assert not isinstance(caught.value, UnusableLedger)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("PRAGMA query_only = ON", "cannot be written"),
        ("PRAGMA max_page_count = 1", "the disk is full"),
    ],
)
def test_what_sqlite_refuses(tmp_path: Path, statement: str, words: str) -> None:
    """A write that fails is a StorageError in our words, and no reason to rebuild."""
    path = ledger_path(tmp_path)
    with connected(path) as connection:
        connection.execute(statement)
        with pytest.raises(StorageError, match=words) as caught:
            _write_much(connection, path)
    assert not isinstance(caught.value, UnusableLedger)
    assert caught.value.hint


def _write_much(connection: sqlite3.Connection, path: Path) -> None:
    with translated(path):
        connection.execute("CREATE TABLE much AS SELECT randomblob(1000000) AS x")


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me", "nfs4"),
        ("/home/my disk/x", None),
        ("/homestead", None),
        ("/srv", None),
        ("/homework", None),
        ("/home", "nfs4"),
    ],
)
def test_network_file_systems(tmp_path: Path, folder: str, kind: str | None) -> None:
    """The mount a folder is on decides, by the longest mount point that is a folder above it."""
    (tmp_path / "mountinfo").write_bytes(MOUNTS)
    found = mounted(Path(folder), tmp_path / "mountinfo")
    assert (found.kind if found.network else None) == kind


def test_ledger_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """The rows of a ledger from before approvals stay, and wait for nobody."""
    connection = sqlite3.connect(ledger_path(tmp_path))
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO runs (digest, run_id, experiment, framework, scenario, repetition, directory)"
        " VALUES ('d', 'r', 'e', 'f', 's', 1, 'f/r')"
    )
    connection.execute("INSERT INTO memberships VALUES ('e', 'd')")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    with open_ledger(ledger_path(tmp_path)) as ledger:
        (row,) = ledger.rows(experiments=["e"])
    assert (row.run_id, row.state, row.waits_for, row.forked_from) == ("r", "planned", (), "")


def test_only_what_nobody_does_can_wait(tmp_path: Path) -> None:
    """The file itself refuses a run that is under way or done and waits for people."""
    _open(tmp_path)
    connection = sqlite3.connect(ledger_path(tmp_path))
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        connection.execute(
            "INSERT INTO runs (digest, run_id, experiment, framework, scenario, repetition, directory, state, outcome,"
            " waits_for) VALUES ('d', 'r', 'e', 'f', 's', 1, 'f/r', 'done', 'passed', '[]')"
        )
    connection.close()


@pytest.mark.parametrize(
    ("kind", "options", "broken"),
    [
        ("nfs4", "rw,vers=4.2,local_lock=none", False),
        ("nfs", "rw,vers=3,nolock,local_lock=all", True),
        ("nfs", "rw,vers=3,local_lock=flock", True),
        ("cifs", "rw,nobrl", True),
        ("cifs", "rw", False),
        ("fuse.sshfs", "rw", True),
        ("ext4", "rw,nolock", False),
    ],
)
def test_places_where_locks_do_not_hold(tmp_path: Path, kind: str, options: str, broken: bool) -> None:  # noqa: FBT001
    """A ledger is refused where two machines could both write it, and the message says what to type."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:40 / /home rw,relatime - {kind} server:/x {options}\n"
    )
    path = Path("/home/me/runs/.ledger.sqlite")
    if not broken:
        require_locks(path, mounts)
        return
    with pytest.raises(StorageError, match="locks do not hold") as caught:
        require_locks(path, mounts)
    assert "--output" in caught.value.hint
    assert kind in caught.value.what


def test_a_failed_commit_leaves_the_old_state(tmp_path: Path) -> None:
    """A transaction that cannot be committed is undone: the next one begins with what was there before."""
    with connected(ledger_path(tmp_path)) as connection:
        with pytest.raises(sqlite3.IntegrityError):
            _commit_what_cannot_be(connection)
        with transaction(connection):
            assert connection.execute("SELECT count(*) FROM memberships").fetchone()[0] == 0


def _commit_what_cannot_be(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO memberships VALUES ('e', 'nobody')")
