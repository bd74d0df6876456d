"""What is kept of a run while it goes on, and what it comes to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from support.fake_world import World
from support.graphs import chart

from runner.evidence.layout import RunLayout
from runner.evidence.records import Outcome, RunRecord, StepRecord
from runner.execution.outcome import not_performed, outcome_of, tolerated
from runner.execution.step import fail_step, skip_step
from runner.execution.story import Clock, Saver, Story, seconds_under_way

DAY = "2030-01-01T00:00:"


def _record(name: str = "a", outcome: Outcome = "passed", reason: str = "", **changes: object) -> StepRecord:
    record = StepRecord(
        id=name,
        index=1,
        title="",
        prompt_sha256="",
        outcome=outcome,
        reason=reason,
        started_at=None,
        finished_at=None,
        changed_files=None,
    )
    return record.model_copy(update=changes)


def test_the_clock_counts_overlapping_time_once() -> None:
    """Two blocks that overlap use the time from the first beginning to the last end; pauses use none."""
    with patch("time.monotonic", autospec=True) as monotonic:
        monotonic.return_value = 0.0
        clock = Clock(10.0, used=1.0)
        monotonic.return_value = 5.0
        with clock.running():
            monotonic.return_value = 6.0
            with clock.running():
                monotonic.return_value = 7.0
                assert clock.remaining() == 7.0
            monotonic.return_value = 8.0
        monotonic.return_value = 100.0
        assert clock.remaining() == 6.0


def test_a_paused_clock_stands_still_unless_another_step_goes_on() -> None:
    """A step that waits for what is no step's doing uses nothing; one beside it that works goes on counting."""
    with patch("time.monotonic", autospec=True) as monotonic:
        monotonic.return_value = 0.0
        clock = Clock(10.0)
        with clock.running():
            monotonic.return_value = 1.0
            with clock.paused():
                monotonic.return_value = 50.0
                with clock.running():
                    monotonic.return_value = 52.0
                monotonic.return_value = 90.0
                assert clock.remaining() == 7.0
            monotonic.return_value = 91.0
        assert clock.remaining() == 6.0


def test_the_clock_is_safe_in_several_threads() -> None:
    """However many begin and end at once, it stands still afterwards."""
    clock = Clock(1000.0)

    def work() -> None:
        for _ in range(200):
            with clock.running():
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.remaining() == clock.remaining()


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0.0),
        ([("00.000Z", "02.500Z")], 2.5),
        ([("00.000Z", "02.000Z"), ("01.000Z", "04.000Z")], 4.0),
        ([("00.000Z", "09.000Z"), ("01.000Z", "02.000Z")], 9.0),
        ([("05.000Z", "06.000Z"), ("00.000Z", "01.000Z")], 2.0),
    ],
)
def test_time_before_a_suspension_is_read_from_the_records(spans: Sequence[tuple[str, str]], seconds: float) -> None:
    """What overlaps counts once; steps that never began, and the time in which people made up their minds, do not."""
    records = [_record(started_at=DAY + begin, finished_at=DAY + end) for begin, end in spans]
    asked = _record(kind="approval", started_at=DAY + "00.000Z", finished_at=DAY + "59.000Z")
    assert seconds_under_way([*records, _record(outcome="skipped"), asked]) == pytest.approx(seconds)


def _saver(world: World, tmp_path: Path, steps: int) -> tuple[Saver, Story, RunLayout]:
    (first, *_) = world.run.steps
    run = world.run.model_copy(update={"steps": tuple(first for _ in range(steps))})
    record = world.perform().record.model_copy(update={"run": run, "outcome": None, "steps": ()})
    story, layout = Story(), RunLayout(tmp_path / "kept")
    return Saver(layout, record, story), story, layout


@pytest.mark.parametrize(("steps", "written"), [(100, 3), (101, 1)])
def test_a_large_record_is_not_written_after_every_step(world: World, tmp_path: Path, steps: int, written: int) -> None:
    """Up to a hundred steps every call writes; beyond, calls that follow at once do not."""
    saver, story, layout = _saver(world, tmp_path, steps)
    with patch("time.monotonic", autospec=True) as monotonic:
        monotonic.side_effect = iter(range(1000))
        for number, planned in enumerate(chart("a b c"), start=1):
            story.done[planned.id] = skip_step(world.run, planned, "because")
            saver.save()
            kept = RunRecord.model_validate_json(layout.metadata.read_bytes())
            assert len(kept.steps) == min(number, written)


def test_a_run_has_the_outcome_of_the_first_step_that_counts() -> None:
    """Trouble of ours outranks it, and a conflict at the end only a run that would have passed."""
    fine, bad, worse = _record("a"), _record("b", "failed", "no"), _record("c", "timed_out", "late")
    excused = bad.model_copy(update={"counts": False})
    assert outcome_of([fine, bad, worse], "", "") == ("failed", "step b: no")
    assert outcome_of([fine, excused, worse], "", "both") == ("timed_out", "step c: late")
    assert outcome_of([fine, excused], "", "") == ("passed", "")
    assert outcome_of([fine], "", "both") == ("failed", "both")
    assert outcome_of([fine, bad], "disk", "both") == ("broken", "disk")


def test_what_was_put_up_with_is_told() -> None:
    """A step left out is none of it."""
    steps = [_record("a", "timed_out", "late", counts=False), _record("b", "skipped", "no", counts=False), _record("c")]
    assert tolerated(steps) == ("step a timed out, and the run may go on without it: late",)


def test_steps_that_something_broke_are_recorded(world: World) -> None:
    """Those under way are broken, those that never began are skipped for the first of them; what is done stays."""
    steps = chart("a b:a c:a d:b,c")
    run = world.run.model_copy(update={"steps": steps})
    story = Story(trouble="no disk", under_way={"c"})
    story.done = {"a": fail_step(run, steps[0], "so")}
    found = [(one.record.id, one.record.outcome, one.record.reason) for one in not_performed(run, story)]
    assert found == [
        ("b", "skipped", "step c did not pass"),
        ("c", "broken", "no disk"),
        ("d", "skipped", "step c did not pass"),
    ]
    story.under_way = set()
    assert [one.record.outcome for one in not_performed(run, story)] == ["broken", "skipped", "skipped"]
