"""A ledger that was lost, made anew from run directories that a power loss may have torn: the next runner loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.frozen import Point
from support.lives import Lives, check_whole

from runner.evidence.copying import remove_tree
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.ledger.rebuild import check, rebuild
from runner.ledger.store import LEDGER_FILE, ledger_path, open_ledger
from runner.plan.resume import decide


def _lose_ledger(lives: Lives, *, done: bool = False) -> None:
    """Remove the ledger, and make it anew from the run directories; `done` is what it then has to say of the run."""
    for path in lives.world.output.glob(f"{LEDGER_FILE}*"):
        path.unlink()
    assert rebuild(lives.world.output).problems == ()
    assert check(lives.world.output) == ()
    with open_ledger(ledger_path(lives.world.output)) as ledger:
        (decision,) = decide([lives.run], ledger.past([lives.run.digest or ""]))
    assert decision.action == ("skip" if done else "run")


def _restart(lives: Lives) -> None:
    """Have the machine be started again: its containers are gone, and its boot is another."""
    engine = lives.world.engine
    for name in lives.world.containers_left:
        engine.containers.remove(name)
    lives.world.owner = replace(lives.world.owner, boot="another")


def _superseded(lives: Lives) -> list[Path]:
    folder = lives.world.output / ".superseded" / "alpha"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _tear(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("point", [Point("wait", "after", 1), Point("logs", "after", 2), Point("remove", "after", 2)])
@pytest.mark.parametrize("loss", [_tear, _remove])
def test_what_was_under_way_when_the_power_failed_is_done_again(lives: Lives, point: Point, loss: object) -> None:
    """Marks of steps under way are torn or missing, what steps wrote is lost: the run is carried out anew, the old one kept."""
    lives.begin(point)
    _restart(lives)
    for path in (lives.layout.views / "begun").iterdir():
        loss(path)  # type: ignore[operator]  # both are functions of a path
    _tear(lives.layout.workspace / "app.txt")
    _lose_ledger(lives)
    record = lives.go()
    check_whole(lives, record)
    assert lives.starts[-2:] == ["Begin.", "Extend."]
    (kept,) = _superseded(lives)
    assert RunRecord.model_validate_json((kept / "metadata.json").read_bytes()).outcome == "broken"


def test_without_a_restart_a_cut_off_run_goes_on(lives: Lives) -> None:
    """A lost ledger alone costs nothing: what was done is not done again."""
    lives.begin(Point("remove", "after", 1))
    _lose_ledger(lives)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]


def _unseal(lives: Lives) -> RunLayout:
    """Carry the run out, and lose what comes after its record: the archive, and the ledger's word."""
    lives.go()
    layout = lives.layout
    for path in (layout.archive("zstd"), layout.archive_digest("zstd"), layout.tar_digest):
        path.unlink()
    return layout


def test_a_run_that_was_being_sealed_when_the_power_failed_is_done_again(lives: Lives) -> None:
    """Its record says passed, and its workspace may not have reached the disk: a rebuilt ledger does not have it as done."""
    remove_tree(_unseal(lives).workspace)
    _restart(lives)
    _lose_ledger(lives)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."] * 2
    (kept,) = _superseded(lives)
    found = RunRecord.model_validate_json((kept / "metadata.json").read_bytes())
    assert found.outcome == "broken"
    assert "(it had passed)" in found.reason


def test_one_that_was_being_sealed_when_its_runner_ended_is_sealed(lives: Lives) -> None:
    """Without a restart of the machine all is there: the archive is written, and nothing is performed again."""
    _unseal(lives)
    _lose_ledger(lives)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]
    assert _superseded(lives) == []


def test_sealed_runs_are_believed_after_a_restart(lives: Lives) -> None:
    """What has its archive is done, whenever the machine was started."""
    lives.go()
    _restart(lives)
    _lose_ledger(lives, done=True)
    check_whole(lives, lives.go())
    assert lives.starts == ["Begin.", "Extend."]
    assert _superseded(lives) == []
