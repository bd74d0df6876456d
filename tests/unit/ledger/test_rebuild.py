"""The run directories are the truth: the ledger can be made from them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engine.owner import Owner
from runner.errors import StorageError
from runner.evidence.atomic import write_json
from runner.evidence.judged import index_verdicts, keep_verdict
from runner.evidence.layout import RunLayout
from runner.evidence.records import METRIC_NAMES, RunRecord, Suspension
from runner.evidence.superseded import set_aside
from runner.evidence.verdicts import Assertion, CheckVerdict
from runner.ledger.rebuild import check, rebuild
from runner.ledger.schema import UnusableLedger
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.plan.models import Run

ALIVE = Owner(uid=1, pid=10, started=1, boot="b", host="h")
WriteRun = Callable[[RunRecord], RunLayout]


def test_from_nothing(
    tmp_path: Path, make_run: Callable[..., Run], make_record: Callable[..., RunRecord], write_run: WriteRun
) -> None:
    """A lost ledger comes back with outcomes and metrics; what was put aside stays out."""
    done, started, old = (make_run(number) for number in (1, 2, 3))
    write_run(make_record(done, "failed", "exit code 1"))
    write_run(make_record(started, None))
    set_aside(tmp_path, write_run(make_record(old)).root)
    found = rebuild(tmp_path)
    assert (found.runs, found.problems, found.kept) == (2, (), None)
    with open_ledger(ledger_path(tmp_path)) as ledger:
        rows = ledger.rows()
        assert [(row.run_id, row.state, row.outcome) for row in rows] == [
            (done.id, "done", "failed"),
            (started.id, "planned", None),
        ]
        assert rows[0].metrics["wall_seconds"] == 5.0
        assert rows[0].metrics["cpu_seconds"] is None
        past = ledger.past([done.digest or "", started.digest or ""])
        assert {one.outcome for one in past.values()} == {"failed", None}
    assert check(tmp_path) == ()


def test_a_broken_record_says_which_field(
    tmp_path: Path, make_run: Callable[..., Run], make_record: Callable[..., RunRecord], write_run: WriteRun
) -> None:
    """What is wrong with a record is told with its place in it, not with how the reader counts mistakes."""
    metadata = write_run(make_record(make_run(1))).metadata
    record = json.loads(metadata.read_text())
    record["run"]["repetition"] = "many"
    metadata.write_text(json.dumps(record))
    (problem,) = rebuild(tmp_path).problems
    assert "its metadata.json is no record: run.repetition: Input should be a valid integer" in problem


def test_unusable_directories_are_named(
    tmp_path: Path, make_run: Callable[..., Run], make_record: Callable[..., RunRecord], write_run: WriteRun
) -> None:
    """A directory without a record, with half of one or with another run's is left out by name."""
    write_run(make_record(make_run(1)))
    write_run(make_record(make_run(2))).metadata.write_text('{"version": 1, "ru')
    copied = write_run(make_record(make_run(3)))
    copied.root.rename(tmp_path / "fake" / "zz-copy")
    (tmp_path / "fake" / "empty").mkdir()
    found = rebuild(tmp_path)
    assert found.runs == 1
    assert found.problems[0].startswith("fake/crud-r2-0: its metadata.json is no record: ")
    assert found.problems[1:] == (
        "fake/empty: it has no metadata.json",
        "fake/zz-copy: it holds the record of fake/crud-r3-0",
    )
    assert set(found.problems) == set(check(tmp_path))


@pytest.mark.parametrize("damage", ["no database", "newer", "damaged inside"])
def test_unusable_ledger_is_kept_aside(
    tmp_path: Path,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
    write_run: WriteRun,
    damage: str,
) -> None:
    """A ledger that cannot be used is put aside, byte for byte, before a new one is made."""
    run = make_run()
    write_run(make_record(run))
    path = ledger_path(tmp_path)
    with open_ledger(path) as ledger:
        ledger.register([run], tmp_path)
    if damage == "newer":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        data = path.read_bytes()
        path.write_bytes(b"?" * 5000 if damage == "no database" else data[:4096] + b"\xff" * (len(data) - 4096))
    before = path.read_bytes()
    found = rebuild(tmp_path)
    assert found.runs == 1
    assert found.kept is not None
    assert found.kept.read_bytes() == before
    with open_ledger(path) as ledger:
        assert [row.outcome for row in ledger.rows()] == ["passed"]


def test_other_trouble_puts_nothing_aside(tmp_path: Path) -> None:
    """A ledger that merely cannot be opened now stays where it is."""
    ledger_path(tmp_path).mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        rebuild(tmp_path)
    assert ledger_path(tmp_path).is_dir()


def test_leases_are_kept(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
    write_run: WriteRun,
) -> None:
    """A rebuild while runs are under way does not take them from their owners."""
    run, planned = make_run(), make_run(2)
    ledger.register([run, planned], tmp_path)
    lease = ledger.lease(run, ALIVE)
    assert lease is not None
    write_run(make_record(run, None))
    assert rebuild(tmp_path).runs == 1
    assert [row.state for row in ledger.rows()] == ["leased"]
    assert ledger.finish(lease, make_record(run), {})


def test_old_lease_is_worth_nothing_in_a_new_ledger(
    tmp_path: Path,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
    write_run: WriteRun,
) -> None:
    """Fences go on from above all earlier ones, so that a late loser of the lost ledger stays one."""
    run = make_run()
    with open_ledger(ledger_path(tmp_path)) as ledger:
        ledger.register([run], tmp_path)
        old = ledger.lease(run, ALIVE)
    assert old is not None
    ledger_path(tmp_path).write_bytes(b"?" * 5000)
    write_run(make_record(run, None))
    rebuild(tmp_path)
    with open_ledger(ledger_path(tmp_path)) as ledger:
        new = ledger.lease(run, ALIVE)
        assert new is not None
        assert new.fence > int(time.time()) - 1000
        assert not ledger.finish(old, make_record(run, "failed"), {})
        assert ledger.finish(new, make_record(run), {})


def test_check_names_differences(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
    write_run: WriteRun,
) -> None:
    """Runs that one side lacks or tells otherwise are named; a rebuild settles them."""
    gone, unknown, differs, planned = (make_run(number) for number in (1, 2, 3, 4))
    ledger.register([gone, differs, planned], tmp_path)
    for run in (gone, differs):
        lease = ledger.lease(run, ALIVE)
        assert lease is not None
        ledger.finish(lease, make_record(run), {})
    write_run(make_record(unknown))
    write_run(make_record(differs, "failed"))
    assert check(tmp_path) == (
        "fake/crud-r1-0: passed in the ledger, and there is no such directory",
        "fake/crud-r2-0: not in the ledger",
        "fake/crud-r3-0: its record says failed, the ledger passed",
    )
    rebuild(tmp_path)
    assert check(tmp_path) == ()


def test_suspended_runs_come_back_as_such(
    tmp_path: Path, make_run: Callable[..., Run], make_record: Callable[..., RunRecord], write_run: WriteRun
) -> None:
    """What waits for people waits after a rebuild too; a ledger that says otherwise is found out."""
    asked = Suspension(
        step="release", index=3, message="?", asked_at="2026-01-01T00:00:00Z", until=None, default="reject"
    )
    record = make_record(make_run(1), None).model_copy(update={"suspended": (asked,)})
    layout = write_run(record)
    rebuild(tmp_path)
    with open_ledger(ledger_path(tmp_path)) as ledger:
        assert [(row.state, row.waits_for) for row in ledger.rows()] == [("suspended", (asked,))]
    assert check(tmp_path) == ()
    write_json(layout.metadata, record.model_copy(update={"suspended": ()}))
    assert check(tmp_path) == (
        "fake/crud-r1-0: by its record it does not wait for approval, the ledger says suspended",
    )
    rebuild(tmp_path)
    write_json(layout.metadata, record)
    assert check(tmp_path) == ("fake/crud-r1-0: by its record it waits for approval, the ledger says planned",)


def test_check_looks_at_every_index(
    tmp_path: Path, make_run: Callable[..., Run], make_record: Callable[..., RunRecord], write_run: WriteRun
) -> None:
    """An index that does not say what its table says is damage, whatever the run directories say."""
    write_run(make_record(make_run()))
    rebuild(tmp_path)
    assert check(tmp_path) == ()
    connection = sqlite3.connect(ledger_path(tmp_path))
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_master SET sql = 'CREATE INDEX runs_in_order ON runs (scenario, framework, repetition, digest)'"
        " WHERE name = 'runs_in_order'"
    )
    connection.commit()
    connection.close()
    with pytest.raises(UnusableLedger, match="is damaged") as caught:
        check(tmp_path)
    assert "runner ledger rebuild" in caught.value.hint
    assert rebuild(tmp_path).kept is not None
    assert check(tmp_path) == ()


@pytest.mark.parametrize(
    ("archive", "there", "told", "done"),
    [
        ("run.tar.zst", True, None, True),
        ("run.tar.zst", False, None, False),
        ("run.tar.zst", False, "passed", True),
        ("run.tar.zst", False, "failed", False),
        (None, False, None, True),
    ],
    ids=["archived", "archive not written", "archive removed later", "another outcome", "no archive wanted"],
)
def test_what_may_not_have_reached_the_disk_is_not_believed(
    tmp_path: Path,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
    write_run: WriteRun,
    *,
    archive: str | None,
    there: bool,
    told: str | None,
    done: bool,
) -> None:
    """A final record without its archive is one whose run was being sealed: it is entered as begun, for `runner go`.

    Unless the ledger had been told of its outcome, which comes after the archive: then that was removed since.
    """
    run = make_run()
    layout = write_run(make_record(run).model_copy(update={"archive": archive}))
    if there and archive is not None:
        (layout.root / archive).touch()
    if told is not None:
        with open_ledger(ledger_path(tmp_path)) as ledger:
            ledger.register([run], tmp_path)
            lease = ledger.lease(run, ALIVE)
            assert lease is not None
            ledger.finish(lease, make_record(run, told), {})
    for _ in range(2):  # what is rebuilt twice is the same
        assert rebuild(tmp_path).problems == ()
        with open_ledger(ledger_path(tmp_path)) as ledger:
            (row,) = ledger.rows()
            assert (row.state, row.outcome) == (("done", "passed") if done else ("planned", None))
            assert run.digest in ledger.past([run.digest or ""]), "it was begun some time"
        assert check(tmp_path) == ()


def test_an_unsealed_run_that_the_ledger_has_otherwise_is_named(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
    write_run: WriteRun,
) -> None:
    """What differs is said in words, of a run that has not ended too."""
    sealing, begun = make_run(1), make_run(2)
    ledger.register([sealing, begun], tmp_path)
    for run in (sealing, begun):
        lease = ledger.lease(run, ALIVE)
        assert lease is not None
        ledger.finish(lease, make_record(run, "failed"), {})
    write_run(make_record(sealing).model_copy(update={"archive": "run.tar.zst"}))
    write_run(make_record(begun, None))
    assert check(tmp_path) == (
        "fake/crud-r1-0: its record says passed and its archive is not there, the ledger failed",
        "fake/crud-r2-0: its record says that it has not ended, the ledger failed",
    )


def test_numbers_are_those_of_the_newest_verdicts(
    tmp_path: Path, make_run: Callable[..., Run], make_record: Callable[..., RunRecord], write_run: WriteRun
) -> None:
    """A run that was judged again after its end has what it was judged to be last, after a rebuild too."""
    layout = write_run(make_record(make_run()))
    write_json(layout.metrics, {**dict.fromkeys(METRIC_NAMES), "per_step": [{"step": "a", "index": 1, "attempts": 1}]})
    figures = {"tests_passed": 3, "tests_total": 4}
    said = (Assertion(id="ok", verdict="passed"),)
    verdict = CheckVerdict(
        check="own", kind="tests", step="a", index=1, version="1" * 12, passed=1, assertions=said, figures=figures
    )
    later = layout.judged_later(verdict.version)
    keep_verdict(later, verdict)
    index_verdicts(layout, later, [verdict])
    rebuild(tmp_path)
    with open_ledger(ledger_path(tmp_path)) as ledger:
        assert ledger.rows()[0].metrics["tests_passed"] == 0.75
