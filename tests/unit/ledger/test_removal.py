"""A run that is removed is gone from folder and ledger, whatever ends the removal in between."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engine.owner import Owner
from runner.errors import StorageError
from runner.evidence.atomic import sync_folder
from runner.evidence.copying import remove_tree
from runner.evidence.layout import RunLayout
from runner.evidence.records import Outcome, RunRecord
from runner.ledger import removal
from runner.ledger.rebuild import check, rebuild
from runner.ledger.removal import REMOVED, finish_removals, remove_run, unfinished_removals
from runner.ledger.rows import LedgerRow
from runner.ledger.store import Ledger
from runner.plan.models import Run

ME = Owner(uid=1, pid=10, started=1, boot="b", host="h")
WriteRun = Callable[[RunRecord], RunLayout]


@pytest.fixture
def finished(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
    write_run: WriteRun,
) -> Callable[[int], LedgerRow]:
    """Return what makes a finished run with a folder in it, on disk and in the ledger."""

    def make(number: int) -> LedgerRow:
        run = make_run(number)
        ledger.register([run], tmp_path)
        lease = ledger.lease(run, ME)
        assert lease is not None
        layout = write_run(make_record(run))
        layout.workspace.mkdir()
        (layout.workspace / "product").write_text("x")
        assert ledger.finish(lease, make_record(run), {})
        return next(row for row in ledger.rows() if row.run_id == run.id)

    return make


@pytest.fixture
def write(
    make_run: Callable[..., Run], make_record: Callable[..., RunRecord], write_run: WriteRun
) -> Callable[[int, Outcome | None], None]:
    """Return what writes the directory of a run, and tells the ledger nothing."""

    def make(number: int, outcome: Outcome | None) -> None:
        write_run(make_record(make_run(number), outcome))

    return make


def test_a_removed_run_leaves_nothing(tmp_path: Path, ledger: Ledger, finished: Callable[[int], LedgerRow]) -> None:
    """Its directory, its row and every folder made for the removal are gone; other runs stay."""
    gone, stays = finished(1), finished(2)
    remove_run(tmp_path, ledger, gone)
    assert [row.run_id for row in ledger.rows()] == [stays.run_id]
    assert not (tmp_path / gone.directory).exists()
    assert not (tmp_path / REMOVED).exists()
    assert check(tmp_path) == ()


@pytest.mark.parametrize("until", range(7))
def test_a_removal_that_is_cut_off_is_finished_later(
    tmp_path: Path,
    ledger: Ledger,
    finished: Callable[[int], LedgerRow],
    monkeypatch: pytest.MonkeyPatch,
    until: int,
) -> None:
    """Whichever deed of a removal is its last, the next clean-up, or a rebuild, makes folder and ledger agree."""
    row = finished(1)
    deeds = itertools.count()

    def cut(deed: Callable[..., object]) -> Callable[..., object]:
        def instead(*arguments: object) -> object:
            if next(deeds) >= until:
                raise KeyboardInterrupt
            return deed(*arguments)

        return instead

    monkeypatch.setattr(removal, "remove_tree", cut(remove_tree))
    monkeypatch.setattr(removal, "sync_folder", cut(sync_folder))
    monkeypatch.setattr(Ledger, "forget", cut(Ledger.forget))
    with pytest.raises(KeyboardInterrupt):
        remove_run(tmp_path, ledger, row)
    monkeypatch.undo()
    if not (tmp_path / row.directory).exists():
        assert any("its removal was cut off" in one for one in check(tmp_path))
        finish_removals(tmp_path, ledger)
        assert ledger.rows() == []
    assert unfinished_removals(tmp_path) == []
    assert check(tmp_path) == ()
    assert rebuild(tmp_path).runs == len(ledger.rows())


def test_a_run_that_was_done_again_stays(
    tmp_path: Path, ledger: Ledger, finished: Callable[[int], LedgerRow], write: Callable[[int, Outcome | None], None]
) -> None:
    """What is left of a removal is no reason to forget the run that was carried out anew since."""
    row = finished(1)
    (tmp_path / REMOVED / "fake").mkdir(parents=True)
    (tmp_path / row.directory).rename(tmp_path / REMOVED / row.directory)
    write(1, "passed")
    assert finish_removals(tmp_path, ledger) == ()
    assert unfinished_removals(tmp_path) == []
    assert [one.run_id for one in ledger.rows()] == [row.run_id]
    assert (tmp_path / row.directory).is_dir()


def test_a_run_under_way_is_not_removed(
    tmp_path: Path, ledger: Ledger, finished: Callable[[int], LedgerRow], write: Callable[[int, Outcome | None], None]
) -> None:
    """A run that was begun again since it was chosen stays, by its record and by the ledger."""
    row = finished(1)
    write(1, None)
    with pytest.raises(StorageError, match="stays: by its record"):
        remove_run(tmp_path, ledger, row)
    assert (tmp_path / row.directory).is_dir()


def test_the_ledger_forgets_only_what_is_done(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """A run that is planned or under way keeps its row, whoever asks."""
    run = make_run(1)
    ledger.register([run], tmp_path)
    assert not ledger.forget(run.digest or "")
    assert ledger.lease(run, ME) is not None
    assert not ledger.forget(run.digest or "")
    assert len(ledger.rows()) == 1
