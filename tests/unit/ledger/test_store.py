"""The ledger knows what is planned, leased and done, exactly once each."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from runner.engine.owner import Owner
from runner.errors import StorageError
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord, Suspension
from runner.ledger.rows import Lease
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.plan.models import Run
from runner.plan.resume import PastRun

ALIVE = Owner(uid=1, pid=10, started=1, boot="b", host="h")
OTHER = Owner(uid=1, pid=11, started=1, boot="b", host="h")
DEAD = Owner(uid=1, pid=99, started=1, boot="b", host="h")
ASKED = Suspension(
    step="release",
    index=3,
    message="Go on?",
    asked_at="2026-01-01T00:00:00.000Z",
    until=None,
    default="reject",
)
TOTALS = {"wall_seconds": 4.5, "tokens_in": 10, "cost_usd": None}


def _leased(ledger: Ledger, run: Run, owner: Owner) -> Lease:
    lease = ledger.lease(run, owner)
    assert lease is not None
    return lease


def test_life_of_a_run(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """A run is planned, leased and done, and the ledger tells each with what belongs to it."""
    run = make_run()
    ledger.register([run], tmp_path)
    (row,) = ledger.rows()
    assert (row.state, row.outcome, row.directory, dict(row.metrics)) == ("planned", None, "fake/crud-r1-0", {})
    assert row.started_at is None
    lease = _leased(ledger, run, ALIVE)
    (row,) = ledger.rows()
    assert (row.state, row.outcome) == ("leased", None)
    assert row.started_at is not None
    assert ledger.finish(lease, make_record(run, "failed", "exit code 1"), TOTALS)
    (row,) = ledger.rows()
    assert (row.state, row.outcome, row.reason, row.model_label) == ("done", "failed", "exit code 1", "no model")
    assert (row.started_at, row.finished_at) == ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:05.000Z")
    assert row.metrics == TOTALS


def test_survives_reopening(
    tmp_path: Path, make_run: Callable[..., Run], make_record: Callable[..., RunRecord]
) -> None:
    """What one process entered, the next one reads."""
    run = make_run()
    me = Owner(uid=1, pid=1, started=1, boot="b", host="h")
    with open_ledger(ledger_path(tmp_path)) as first:
        first.register([run], tmp_path)
        first.finish(_leased(first, run, me), make_record(run), TOTALS)
    with open_ledger(ledger_path(tmp_path)) as second:
        assert [row.outcome for row in second.rows()] == ["passed"]


def test_registering_again_keeps_what_is_known(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """Planning a run again, by another experiment too, loses neither its outcome nor its first experiment."""
    run = make_run(experiment="first")
    ledger.register([run], tmp_path)
    ledger.finish(_leased(ledger, run, ALIVE), make_record(run), TOTALS)
    ledger.register([make_run(experiment="second")], tmp_path)
    assert [(row.experiment, row.outcome) for row in ledger.rows()] == [("second", "passed")]
    assert len(ledger.rows(experiments=["first"])) == len(ledger.rows(experiments=["second"])) == 1
    assert ledger.rows(experiments=["third"]) == []


def test_refuses_another_folder(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """Runs of another output folder do not get into this one's ledger."""
    with pytest.raises(StorageError) as caught:
        ledger.register([make_run()], tmp_path / "elsewhere")
    assert caught.value.hint == f"that folder's ledger is {tmp_path}/elsewhere/.ledger.sqlite"
    assert ledger.rows() == []


def test_refuses_a_run_without_digest(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """A run of a dry run has no identity yet; nothing of its list is entered."""
    with pytest.raises(ValueError, match="has no digest"):
        ledger.register([make_run(), make_run(2).model_copy(update={"digest": None})], tmp_path)
    assert ledger.rows() == []


def test_lease_of_a_live_owner_holds(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """While an owner lives, nobody else gets its run, and it does not get it twice."""
    run = make_run()
    ledger.register([run], tmp_path)
    lease = _leased(ledger, run, ALIVE)
    assert ledger.lease(run, OTHER) is None
    assert ledger.lease(run, ALIVE) is None
    assert ledger.release(lease)
    assert not ledger.release(lease)
    assert _leased(ledger, run, OTHER).fence == lease.fence + 1


def test_lease_of_a_dead_owner_is_taken_over(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """A dead owner's run goes to the next, and what the first one still brings counts for nothing."""
    run = make_run()
    ledger.register([run], tmp_path)
    lost = _leased(ledger, run, DEAD)
    held = _leased(ledger, run, ALIVE)
    assert held.fence > lost.fence
    assert not ledger.finish(lost, make_record(run, "failed"), TOTALS)
    assert not ledger.release(lost)
    assert ledger.finish(held, make_record(run, "passed"), TOTALS)
    assert [row.outcome for row in ledger.rows()] == ["passed"]


def test_lease_taken_by_another_in_the_same_moment(
    tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]
) -> None:
    """Of two that find the same owner dead at the same time, one takes over; the other gets nothing."""
    run = make_run()
    ledger.register([run], tmp_path)
    _leased(ledger, run, DEAD)
    quicker: list[Lease] = []

    def slow(owner: Owner) -> bool:
        quicker.append(_leased(ledger, run, OTHER))
        return False

    with open_ledger(ledger_path(tmp_path), alive=slow) as late:
        assert late.lease(run, ALIVE) is None
    assert ledger.release(quicker[0])


def test_finishing_twice(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """A lease finishes its run once."""
    run = make_run()
    ledger.register([run], tmp_path)
    lease = _leased(ledger, run, ALIVE)
    assert ledger.finish(lease, make_record(run, "passed"), TOTALS)
    assert not ledger.finish(lease, make_record(run, "broken"), TOTALS)
    assert [row.outcome for row in ledger.rows()] == ["passed"]


def test_finishing_needs_an_outcome(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """A record that is not final cannot be entered as the end of a run."""
    run = make_run()
    ledger.register([run], tmp_path)
    with pytest.raises(ValueError, match="has no outcome"):
        ledger.finish(_leased(ledger, run, ALIVE), make_record(run, None), TOTALS)


def test_lease_of_an_unknown_run(ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """A run that was never registered is an error, not a lease."""
    with pytest.raises(StorageError, match="crud-r1-0 is not in the ledger"):
        ledger.lease(make_run(), ALIVE)


def test_leasing_a_done_run_opens_it_again(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """A run that is done anew has no outcome meanwhile: if it ends badly, the old one is not taken for the new."""
    run = make_run()
    ledger.register([run], tmp_path)
    ledger.finish(_leased(ledger, run, ALIVE), make_record(run), TOTALS)
    _leased(ledger, run, ALIVE)
    assert [(row.state, row.outcome, dict(row.metrics)) for row in ledger.rows()] == [("leased", None, {})]


def test_eight_threads_lease_each_run_once(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """Of many threads that want the same runs, each run goes to exactly one."""
    runs = [make_run(number) for number in range(1, 31)]
    ledger.register(runs, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(lambda run: ledger.lease(run, ALIVE), runs * 8))
    got = [lease.digest for lease in leases if lease is not None]
    assert sorted(got) == sorted(run.digest for run in runs if run.digest)


def test_past(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """Runs that were started have a past, finished or not; those that were only planned have none."""
    done, started, planned = (make_run(number) for number in (1, 2, 3))
    ledger.register([done, started, planned], tmp_path)
    ledger.finish(_leased(ledger, done, ALIVE), make_record(done, "timed_out", "slow"), TOTALS)
    _leased(ledger, started, ALIVE)
    past = ledger.past([done.digest or "", started.digest or "", planned.digest or "", "unknown"])
    assert past == {
        done.digest: PastRun(
            digest=done.digest or "",
            run_id=done.id,
            framework="fake",
            scenario="crud",
            repetition=1,
            outcome="timed_out",
            reason="slow",
            finished_at="2026-01-01T00:00:05.000Z",
            directory="fake/crud-r1-0",
        ),
        started.digest: PastRun(
            digest=started.digest or "",
            run_id=started.id,
            framework="fake",
            scenario="crud",
            repetition=2,
            outcome=None,
            reason="",
            finished_at=None,
            directory="fake/crud-r2-0",
        ),
    }
    assert ledger.past([planned.digest or ""]) == {}


def test_rows_filter_and_sort(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """Each filter narrows, several together more; the order is framework, scenario, repetition."""
    cells = itertools.product((2, 10, 1), ("b", "a"), ("y", "x"))
    runs = [make_run(number, framework=framework, scenario=scenario) for number, framework, scenario in cells]
    ledger.register(runs, tmp_path)
    ledger.finish(_leased(ledger, runs[0], ALIVE), make_record(runs[0]), TOTALS)
    order = [(row.framework, row.scenario, row.repetition) for row in ledger.rows()]
    assert order == list(itertools.product("ab", "xy", (1, 2, 10)))
    assert len(ledger.rows(frameworks=["a"])) == 6
    assert len(ledger.rows(frameworks=["a", "b"], scenarios=["x"])) == 6
    assert len(ledger.rows(states=["planned"])) == 11
    assert [row.run_id for row in ledger.rows(outcomes=["passed"])] == [runs[0].id]
    assert ledger.rows(outcomes=["failed"]) == []


def test_the_newest_and_the_counts(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """Of a list those that began last are shown, in its usual order; counting takes all that match."""
    runs = [make_run(number, framework=framework) for framework in ("b", "a") for number in (1, 2, 3)]
    ledger.register(runs, tmp_path)
    for number, run in enumerate(runs[:4]):
        record = make_record(run, "failed" if number else "passed")
        begun = {"started_at": f"2026-01-0{4 - number}T00:00:00.000Z"}
        assert ledger.finish(_leased(ledger, run, ALIVE), record.model_copy(update=begun), TOTALS)
    assert [(row.framework, row.repetition) for row in ledger.rows(newest=3)] == [("b", 1), ("b", 2), ("b", 3)]
    assert [(row.framework, row.repetition) for row in ledger.rows(newest=2, outcomes=["failed"])] == [
        ("b", 2),
        ("b", 3),
    ]
    assert len(ledger.rows(newest=100)) == 6
    assert ledger.counts() == {"failed": 3, "planned": 2, "passed": 1}
    assert list(ledger.counts()) == ["failed", "passed", "planned"]
    assert ledger.counts(frameworks=["a"], outcomes=["failed"]) == {"failed": 1}
    assert [row.run_id for row in ledger.rows(digests=[runs[0].digest or "", "unknown"])] == [runs[0].id]


def test_images_of_runs(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """The ledger knows what each run is made with."""
    ledger.register([make_run(1)], tmp_path)
    assert dict(ledger.images()) == {"fake/crud-r1-0": ["sha256:1"]}


def test_names_are_data(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """A name with quotes is a name."""
    ledger.register([make_run(experiment="x'); DROP TABLE runs; --")], tmp_path)
    assert len(ledger.rows(experiments=["x'); DROP TABLE runs; --"])) == 1


def test_previous(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
    write_run: Callable[[RunRecord], RunLayout],
) -> None:
    """The latest started run of the same cell under another digest is found, as long as its directory is."""
    oldest, older, now = (make_run(salt=salt) for salt in "abc")
    assert ledger.previous(now) is None
    ledger.register([oldest, older, now, make_run(2, salt="a")], tmp_path)
    assert ledger.previous(now) is None
    layouts = []
    for run in (oldest, older):
        _leased(ledger, run, ALIVE)
        layouts.append(write_run(make_record(run)))
        time.sleep(0.005)
    assert ledger.previous(now) == older
    assert ledger.previous(older) == oldest
    layouts[1].metadata.write_text("{")
    assert ledger.previous(now) is None


def test_a_hundred_thousand_runs(tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run]) -> None:
    """A run of a large experiment is registered, looked up and listed no slower than one of a small one, in little memory."""
    runs = [make_run(number) for number in range(1, 100_001)]

    def seconds(some: list[Run]) -> float:
        started = time.process_time()
        ledger.register(some, tmp_path)
        assert ledger.past(run.digest or "" for run in some) == {}
        return time.process_time() - started

    few = seconds(runs[:5000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many = seconds(runs[5000:])
    assert len(ledger.rows()) == 100_000
    assert many < 3 * 19 * few
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024


def test_a_suspended_run_is_held_by_nobody(
    tmp_path: Path,
    ledger: Ledger,
    make_run: Callable[..., Run],
    make_record: Callable[..., RunRecord],
) -> None:
    """A run that waits for people is given back as suspended, says what for, and can be leased again."""
    run = make_run(1)
    ledger.register([run], tmp_path)
    record = make_record(run, None).model_copy(update={"suspended": (ASKED,), "finished_at": None})
    lease = _leased(ledger, run, ALIVE)
    with pytest.raises(ValueError, match="waits for nobody"):
        ledger.suspend(lease, record.model_copy(update={"suspended": ()}))
    assert ledger.suspend(lease, record)
    assert not ledger.suspend(lease, record)
    (row,) = ledger.rows(states=["suspended"])
    assert (row.state, row.outcome, row.waits_for, row.model_label) == ("suspended", None, (ASKED,), "no model")
    assert ledger.rows(states=["planned"]) == []
    assert ledger.past([run.digest or ""])[run.digest or ""].waits_for == ("release",)
    again = _leased(ledger, run, ALIVE)
    assert [(one.state, one.waits_for) for one in ledger.rows()] == [("leased", ())]
    assert ledger.finish(again, make_record(run), TOTALS)
    assert [one.state for one in ledger.rows()] == ["done"]


def test_a_run_that_is_judged_again_has_other_numbers(
    tmp_path: Path, ledger: Ledger, make_run: Callable[..., Run], make_record: Callable[..., RunRecord]
) -> None:
    """The numbers of a run that is done are replaced and nothing else of it; of one that is not, or a copy, none are."""
    run, under_way = make_run(1), make_run(2)
    ledger.register([run, under_way], tmp_path)
    for one in (run, under_way):
        lease = ledger.lease(one, ALIVE)
        assert lease is not None
        if one is run:
            assert ledger.finish(lease, make_record(run), {"crud_effectiveness": 0.25, "tokens_in": 7})
    (before,) = ledger.rows(digests=(run.digest or "",))
    assert ledger.judged(run, {"crud_effectiveness": 1.0, "tokens_in": 7})
    (after,) = ledger.rows(digests=(run.digest or "",))
    assert after == replace(before, metrics={"crud_effectiveness": 1.0, "tokens_in": 7})
    assert not ledger.judged(under_way, {})
    assert not ledger.judged(run.model_copy(update={"id": "elsewhere"}), {})
