"""A suspended run is taken up from what stands on disk."""

from __future__ import annotations

from support.fake_world import World

from runner.evidence.atomic import write_json
from runner.evidence.measures.completing import logs_of_run
from runner.evidence.metrics import run_metrics
from runner.evidence.records import RunRecord, Suspension
from runner.evidence.tree import scan
from runner.execution.resume import reload


def _suspended(world: World) -> RunRecord:
    """Carry a run out and make it look as if it waited after its steps, in disorder."""
    record = world.perform().record
    asked = Suspension(step="ok", index=3, message="?", asked_at="2026-01-01T00:00:00Z", until=None, default="reject")
    return record.model_copy(update={"outcome": None, "suspended": (asked,), "steps": record.steps[::-1]})


def test_steps_come_back_with_what_was_measured(world: World) -> None:
    """Every step that has ended is there, by position, with its record and its metrics, so that totals stay exact."""
    before = world.perform()
    record = before.record.model_copy(update={"outcome": None, "steps": before.record.steps[::-1]})
    resumed = reload(world.context, world.layout, record)
    assert [one.record for one in resumed.done] == list(before.record.steps)
    assert resumed.record == record
    steps, logs = [(one.record, one.metrics) for one in resumed.done], logs_of_run(world.layout, world.run)
    assert run_metrics(steps, scan(world.layout.workspace), logs=logs).totals == before.totals


def test_lost_metrics_are_unmeasured(world: World) -> None:
    """A step whose metrics are gone has used nobody knows what: null, and so is the total."""
    record = _suspended(world)
    world.layout.step(2).metrics.unlink()
    resumed = reload(world.context, world.layout, record)
    assert resumed.done[1].metrics.totals["cpu_seconds"] is None
    report = run_metrics([(one.record, one.metrics) for one in resumed.done], None)
    assert (report.totals["cpu_seconds"], report.totals["steps_passed"]) == (None, 2)
    assert report.about["cpu_seconds"].reason == "step extend: attempt 1: the step's metrics.json cannot be read"
    assert report.totals["wall_seconds"] is not None, "that is in its record"
    assert resumed.done[0].metrics.totals["cpu_seconds"] is not None
    write_json(world.layout.metadata, record)
    assert RunRecord.model_validate_json(world.layout.metadata.read_bytes()) == record
