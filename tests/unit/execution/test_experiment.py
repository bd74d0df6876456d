"""Planned runs carried out: lease, settle, perform, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.broken_world import small_disk
from support.fake_world import World, check_finished, good_step, tell

from runner.engine.owner import Owner
from runner.errors import EngineError, StorageError
from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.superseded import SUPERSEDED
from runner.evidence.verify import verify_archive
from runner.execution.approvals import Answer, answer
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.execution.run import RunDone
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.names import LABEL_RUN
from runner.plan.models import PlannedApproval, Run
from runner.testing import Box


@contextmanager
def _ledger(world: World) -> Iterator[Ledger]:
    world.output.mkdir(exist_ok=True)
    with open_ledger(ledger_path(world.output)) as ledger:
        yield ledger


def _carry_out(
    world: World, ledger: Ledger, runs: Sequence[Run] | None = None, *, jobs: int = 1, fresh: bool = False
) -> list[RunDone]:
    pool = LocalPool(jobs, world.cancellation)
    return list(carry_out(world.context, world.runs() if runs is None else runs, ledger, pool, fresh=fresh))


def _kept(world: World, number: int = 1) -> RunLayout:
    return RunLayout(world.output / SUPERSEDED / "alpha" / f"{world.run.id}.{number}")


def _record(layout: RunLayout) -> RunRecord:
    return RunRecord.model_validate_json(layout.metadata.read_bytes())


def test_a_run_is_recorded_once_it_is_on_disk(world: World) -> None:
    """What is yielded stands in the ledger as done, with outcome, times and metrics, and its cgroups are gone."""
    with _ledger(world) as ledger:
        (done,) = _carry_out(world, ledger)
        check_finished(world, done)
        (row,) = ledger.rows()
    assert (row.state, row.outcome, row.run_id) == ("done", "passed", world.run.id)
    assert row.metrics == dict(done.totals)
    assert world.engine.cgroup_parents == []


def test_several_runs_side_by_side(world: World) -> None:
    """Six runs in three slots: each performed once, into its own folder, each in the ledger."""
    runs = world.runs(6)
    with _ledger(world) as ledger:
        finished = _carry_out(world, ledger, runs, jobs=3)
        assert {row.outcome for row in ledger.rows()} == {"passed"}
    assert sorted(done.record.run.id for done in finished) == sorted(run.id for run in runs)
    assert world.engine.calls.count("create") == 12
    for run in runs:
        assert (world.context.layout(run).workspace / "app.txt").read_text() == "Begin.Extend."
    assert (world.containers_left, world.engine.cgroup_parents) == ([], [])


def test_one_broken_run_stops_no_other(world: World) -> None:
    """An engine fault in one run is that run's outcome; the next is performed."""
    world.engine.fail_next("create", EngineError("not now"))
    with _ledger(world) as ledger:
        outcomes = [done.record.outcome for done in _carry_out(world, ledger, world.runs(2))]
    assert outcomes == ["broken", "passed"]


def test_what_another_runner_holds_is_left_to_it(world: World) -> None:
    """Without a lease a run is not performed, and its folder is not touched."""
    with _ledger(world) as ledger:
        ledger.register(world.runs(), world.output)
        assert ledger.lease(world.run, replace(world.owner)) is not None
        before = len(world.engine.calls)
        assert _carry_out(world, ledger) == []
    assert set(world.engine.calls[before:]) <= {"info", "release"}
    assert not world.layout.root.exists()


def test_a_dead_runners_lease_is_taken_over(world: World, dead: Owner) -> None:
    """A lease whose process has ended keeps nobody from the run."""
    with _ledger(world) as ledger:
        ledger.register(world.runs(), world.output)
        ledger.lease(world.run, dead)
        assert [done.record.outcome for done in _carry_out(world, ledger)] == ["passed"]


def test_a_final_record_is_sealed_and_not_repeated(world: World) -> None:
    """A crash between record and archive costs the archive only: it is written, the run is not done again."""
    first = world.perform()
    layout = world.layout
    for file in (layout.archive("zstd"), layout.archive_digest("zstd"), layout.tar_digest):
        file.unlink()
    created = world.engine.calls.count("create")
    with _ledger(world) as ledger:
        (done,) = _carry_out(world, ledger)
        assert [row.outcome for row in ledger.rows()] == ["passed"]
    assert (done.record, done.totals) == (first.record, first.totals)
    assert world.engine.calls.count("create") == created
    assert verify_archive(layout.archive("zstd")) == []


def test_a_failure_of_the_framework_is_final_too(world: World) -> None:
    """A failed run found on disk is not repeated: that would only repeat its cost."""

    def fail(box: Box) -> int:
        good_step(box)
        tell(box, exit_code=1)
        return 1

    world.perform(fail)
    created = world.engine.calls.count("create")
    with _ledger(world) as ledger:
        assert [done.record.outcome for done in _carry_out(world, ledger)] == ["failed"]
    assert world.engine.calls.count("create") == created


def test_an_unfinished_record_is_finalised_and_set_aside(world: World) -> None:
    """What a crash cut off is kept as interrupted, complete with archive, and the run is done anew in an empty folder."""
    done = world.perform()
    layout = world.layout
    cut = {"outcome": None, "reason": "", "finished_at": None, "steps": done.record.steps[:1], "archive": None}
    write_json(layout.metadata, done.record.model_copy(update=cut))
    archived = (layout.archive("zstd"), layout.archive_digest("zstd"), layout.tar_digest)
    for file in (*archived, layout.metrics, layout.step(2).metadata):
        file.unlink()
    (layout.workspace / "half-done").write_text("x")
    with _ledger(world) as ledger:
        (again,) = _carry_out(world, ledger)
    check_finished(world, again)
    assert again.record.outcome == "passed"
    assert not (layout.workspace / "half-done").exists()
    kept = _kept(world)
    assert (_record(kept).outcome, _record(kept).reason) == (
        "broken",
        "interrupted: the runner ended before the run did",
    )
    assert _record(kept).finished_at is not None
    assert _record(kept).steps == done.record.steps[:1]
    assert (kept.workspace / "half-done").exists()
    assert verify_archive(kept.archive("zstd")) == []


@pytest.mark.parametrize("outcome", ["broken", "cancelled"])
def test_what_was_not_the_frameworks_doing_is_done_again(world: World, outcome: str) -> None:
    """Broken and cancelled runs are kept aside as they are and performed anew."""
    done = world.perform()
    write_json(world.layout.metadata, done.record.model_copy(update={"outcome": outcome, "reason": "so it was"}))
    with _ledger(world) as ledger:
        (again,) = _carry_out(world, ledger)
    assert again.record.outcome == "passed"
    assert (_record(_kept(world)).outcome, _record(_kept(world)).reason) == (outcome, "so it was")


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("{half"), lambda path: path.unlink()])
def test_a_folder_without_a_usable_record_is_set_aside(world: World, spoil: Callable[[Path], object]) -> None:
    """A folder whose record is torn or was never written is kept, and the run starts in an empty one."""
    world.perform()
    spoil(world.layout.metadata)
    with _ledger(world) as ledger:
        assert [done.record.outcome for done in _carry_out(world, ledger)] == ["passed"]
    assert (_kept(world).workspace / "app.txt").read_text() == "Begin.Extend."
    assert (world.layout.workspace / "app.txt").read_text() == "Begin.Extend."


def test_fresh_keeps_the_old_and_does_it_anew(world: World) -> None:
    """With `fresh` a passed run is set aside untouched, each time under a number of its own, and done again."""
    first = world.perform()
    with _ledger(world) as ledger:
        for _ in range(2):
            (done,) = _carry_out(world, ledger, fresh=True)
            check_finished(world, done)
    assert _record(_kept(world)) == first.record
    assert verify_archive(_kept(world).archive("zstd")) == []
    assert _record(_kept(world, 2)).outcome == "passed"
    assert world.engine.calls.count("create") == 6


def test_after_the_switch_no_run_begins(world: World) -> None:
    """The run under way is cancelled and recorded; those that wait are not begun, so that a resume finds them planned."""

    def cancel(box: Box) -> int:
        world.cancellation.cancel()
        box.sleep(60)
        return 0

    world.engine.register(cancel)
    with _ledger(world) as ledger:
        (done,) = _carry_out(world, ledger, world.runs(3))
        states = sorted((row.state, row.outcome) for row in ledger.rows())
    assert done.record.outcome == "cancelled"
    assert states == [("done", "cancelled"), ("planned", None), ("planned", None)]
    assert world.containers_left == []


@pytest.mark.processes
def test_a_full_disk_is_refused_before_anything_starts(world: World, tmp_path: Path) -> None:
    """Where less than the margin is free nothing is leased or made, and the message says how much is free."""
    with small_disk(tmp_path / "small", "size=64m") as output:
        world.output = output
        with _ledger(world) as ledger:
            with pytest.raises(StorageError, match="the disk is nearly full") as refused:
                _carry_out(world, ledger)
            assert [row.state for row in ledger.rows()] == ["planned"]
        assert str(output) in str(refused.value)
        assert not world.layout.root.exists()
    assert not {"volumes.create", "create"} & set(world.engine.calls)


def test_cgroups_that_stay_are_told_not_raised(world: World) -> None:
    """When parent cgroups cannot be removed at the end, the runs' results stand, and a notice says so."""
    world.engine.fail_next("release", EngineError("cgroups could not be removed"))
    with _ledger(world) as ledger:
        (done,) = _carry_out(world, ledger)
    assert done.record.outcome == "passed"
    assert "cgroups could not be removed" in [getattr(event, "text", "") for event in world.events]


def _asking(world: World, timeout: float | None = None) -> Run:
    """Return a run that asks a person between its two steps."""
    first, last = world.run.steps
    asks = first.model_copy(
        update={
            "id": "ask",
            "index": 2,
            "kind": "approval",
            "approval": PlannedApproval(message="Go on?", timeout=timeout, default="approve"),
        }
    )
    return world.run.model_copy(update={"steps": (first, asks, last.model_copy(update={"index": 3}))})


def _answer(world: World, run: Run) -> None:
    given = Answer(step="ask", decision="approve", decided_at="2030-01-01T00:00:00.000Z")
    assert answer(world.context.layout(run), 2, given) is None


def test_a_suspended_run_is_given_back_and_taken_up_later(world: World) -> None:
    """Without an answer it is not touched again; after one the next invocation finishes it, without repeating a step."""
    run = _asking(world)
    with _ledger(world) as ledger:
        (suspended,) = _carry_out(world, ledger, [run])
        assert (suspended.record.outcome, [one.step for one in suspended.record.suspended]) == (None, ["ask"])
        assert [row.state for row in ledger.rows()] == ["suspended"]
        before = len(world.engine.calls)
        assert _carry_out(world, ledger, [run]) == []
        assert set(world.engine.calls[before:]) <= {"info", "release"}
        _answer(world, run)
        (done,) = _carry_out(world, ledger, [run])
        assert [(row.state, row.outcome) for row in ledger.rows()] == [("done", "passed")]
    assert (done.record.outcome, world.engine.calls.count("create")) == ("passed", 2)
    assert world.containers_left == []


@pytest.mark.parametrize("fresh", [False, True])
def test_an_answer_that_comes_meanwhile_is_enough(world: World, fresh: bool) -> None:  # noqa: FBT001  a parameter
    """The invocation that suspended the run takes it up again once the others have ended, fresh or not."""
    asking, other = _asking(world), world.runs(2)[1]

    def work(box: Box) -> int:
        if box.spec.labels[LABEL_RUN] == other.id and not world.context.layout(asking).decision(2).exists():
            _answer(world, asking)
        return good_step(box)

    world.engine.register(work)
    with _ledger(world) as ledger:
        outcomes = [
            (done.record.run.id, done.record.outcome)
            for done in _carry_out(world, ledger, [asking, other], fresh=fresh)
        ]
    assert outcomes == [(asking.id, None), (other.id, "passed"), (asking.id, "passed")]


def test_a_question_whose_time_is_up_answers_itself(world: World) -> None:
    """The default is taken at once where the time is over when the others have ended, and the record says so."""
    with _ledger(world) as ledger:
        outcomes = [done.record.outcome for done in _carry_out(world, ledger, [_asking(world, timeout=0.001)])]
    assert outcomes[-1] == "passed"


def test_fresh_asks_again(world: World) -> None:
    """With `fresh` a suspended run is set aside and begun anew, once."""
    run = _asking(world)
    with _ledger(world) as ledger:
        _carry_out(world, ledger, [run])
        (again,) = _carry_out(world, ledger, [run], fresh=True)
    assert (again.record.outcome, world.engine.calls.count("create")) == (None, 2)
    assert _kept(world).root.exists()
