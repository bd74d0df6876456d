"""Whether what a suspended run waits for has been decided."""

from __future__ import annotations

from pathlib import Path

from runner.cli.waiting import look_for_answers
from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord, Suspension
from runner.execution.approvals import Answer, answer
from runner.plan.resume import PastRun

RUN = "crud-r3-abc"


def _past(waits_for: tuple[str, ...] = ("release",)) -> PastRun:
    return PastRun(
        digest="d",
        run_id=RUN,
        framework="ghspec",
        scenario="crud",
        repetition=1,
        outcome=None,
        reason="",
        finished_at=None,
        directory=f"ghspec/{RUN}",
        waits_for=waits_for,
    )


def _suspend(output: Path) -> RunLayout:
    layout = RunLayout(output / "ghspec" / RUN)
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    asked = Suspension(
        step="release", index=3, message="?", asked_at="2026-01-01T00:00:00Z", until=None, default="reject"
    )
    write_json(layout.metadata, record.model_copy(update={"suspended": (asked,)}))
    return layout


def test_decisions_are_found(output: Path) -> None:
    """A run waits until a decision is on disk; then the reason to go on names it."""
    layout = _suspend(output)
    assert look_for_answers(output, {"d": _past()}) == {"d": _past()}
    answer(layout, 3, Answer(step="release", decision="reject", message="no", decided_at="2026-01-01T10:00:00Z"))
    found = look_for_answers(output, {"d": _past()})["d"]
    assert found.answered == "step release was rejected on 2026-01-01 10:00:00 UTC: no"


def test_the_record_is_right_where_the_ledger_is_not(output: Path) -> None:
    """A run whose record does not wait, or is gone, is treated like any other that was begun."""
    assert look_for_answers(output, {"d": _past()})["d"].waits_for == ()
    (output / "ghspec" / RUN / "metadata.json").unlink()
    assert look_for_answers(output, {"d": _past()})["d"].waits_for == ()


def test_nothing_else_is_looked_into(tmp_path: Path) -> None:
    """Runs that do not wait are passed on as they are, without a look at their directories."""
    assert look_for_answers(tmp_path / "nowhere", {"d": _past(())}) == {"d": _past(())}
