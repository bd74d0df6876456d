"""`runner approve` and `runner reject`, and where a waiting run is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import run

from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.records import DecisionRecord, RunRecord, Suspension
from runner.execution.approvals import Answer, post, read_answer
from runner.ledger.rebuild import rebuild
from runner.plan.models import PlannedApproval, PlannedStep

RUN = "crud-r3-abc"


def _asked(step: str, index: int, until: str | None = None) -> Suspension:
    return Suspension(
        step=step,
        index=index,
        message=f"Go on with\n{step}?",
        asked_at="2026-01-01T00:00:00.000Z",
        until=until,
        default="reject",
    )


def _suspend(output: Path, *waiting: Suspension, posted: bool = False) -> RunLayout:
    """Make the unfinished run wait; or, posted, go on beside a question."""
    layout = RunLayout(output / "ghspec" / RUN)
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    approvals = tuple(_approval(record.run.steps[0], one) for one in waiting)
    planned = record.run.model_copy(update={"steps": (*record.run.steps[:2], *approvals)})
    write_json(layout.metadata, record.model_copy(update={"run": planned, "suspended": () if posted else waiting}))
    if posted:
        for one in waiting:
            post(layout, one)
    return layout


def _approval(like: PlannedStep, asked: Suspension) -> PlannedStep:
    update = {"id": asked.step, "index": asked.index, "kind": "approval", "approval": PlannedApproval(message="")}
    return like.model_copy(update=update)


@pytest.mark.parametrize("state", ["suspended", "under way"])
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_the_only_question_needs_no_name(output: Path, verb: str, state: str) -> None:
    """A run that waits for one thing is decided by its name alone, whether it is suspended or still under way."""
    layout = _suspend(output, _asked("release", 3), posted=state == "under way")
    code, out, err = run(output, verb, RUN, "--message", "why not")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{verb.rstrip('e')}ed: release of ghspec/{RUN}: Go on with release?"
    assert out.endswith("else continue: runner go default\n"), "another experiment would not go on with this run"
    answer = read_answer(layout, 3)
    assert answer is not None
    assert (answer.step, answer.decision, answer.message) == ("release", verb, "why not")


def test_several_questions_need_a_name(output: Path) -> None:
    """With several open questions one has to be named; each is decided alone, by name or position."""
    layout = _suspend(output, _asked("first", 3), _asked("second", 4))
    code, _, err = run(output, "approve", RUN)
    assert code == 2
    assert f"2 steps of {RUN} wait for approval" in err
    assert f"name one: {RUN}@first" in err
    assert run(output, "approve", f"{RUN}@4")[0] == 0
    assert read_answer(layout, 3) is None
    assert run(output, "reject", RUN)[0] == 0, "one is left, so it need not be named"
    assert run(output, "reject", RUN)[2].startswith("error: all is decided")


def test_nobody_decides_twice(output: Path) -> None:
    """A second decision is refused and told what the first was, and when; the first stands."""
    layout = _suspend(output, _asked("release", 3))
    write_json_answer(
        layout, Answer(step="release", decision="reject", message="no", decided_at="2026-01-01T10:00:00Z")
    )
    code, _, err = run(output, "approve", f"{RUN}@release")
    assert code == 2
    assert f"release of {RUN} has been decided" in err
    assert "it was rejected on 2026-01-01 10:00:00 UTC: no" in err
    assert "continue: runner go default\n" in err


def write_json_answer(layout: RunLayout, given: Answer) -> None:
    """Write a decision as another process would."""
    layout.decision(3).parent.mkdir(exist_ok=True)
    write_json(layout.decision(3), given)


def test_time_that_is_up_cannot_be_turned_back(output: Path) -> None:
    """When the default counts already, nobody can decide any more."""
    layout = _suspend(output, _asked("release", 3, until="2026-01-01T00:01:00.000Z"))
    code, _, err = run(output, "approve", RUN)
    assert code == 2
    assert "it was rejected on 2026-01-01 00:01:00 UTC because its time was up" in err
    assert read_answer(layout, 3) is None


def test_unknown_step_names_the_nearest(output: Path) -> None:
    """A step that is no approval is refused, with the choices."""
    _suspend(output, _asked("release", 3))
    code, _, err = run(output, "approve", f"{RUN}@relase")
    assert code == 2
    assert "choices: release" in err
    assert "did you mean release?" in err


def test_a_run_that_does_not_wait(output: Path) -> None:
    """A run that has ended, or has not asked yet, says so, and what was decided before."""
    code, _, err = run(output, "approve", "crud-r1")
    assert (code, "the run has ended: failed" in err) == (2, True)
    layout = _suspend(output, _asked("release", 3))
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    write_json(layout.metadata, record.model_copy(update={"suspended": ()}))
    assert "has not been asked" in run(output, "approve", f"{RUN}@release")[2]
    decision = DecisionRecord(
        decision="approve", by="person", asked_at="2026-01-01T00:00:00Z", decided_at="2026-01-01T01:00:00Z"
    )
    done = record.steps[0].model_copy(update={"id": "release", "index": 3, "kind": "approval", "decision": decision})
    write_json(layout.metadata, record.model_copy(update={"suspended": (), "steps": (*record.steps, done)}))
    assert "it was approved on 2026-01-01 01:00:00 UTC" in run(output, "reject", f"{RUN}@release")[2]
    assert "release was approved on 2026-01-01 01:00:00 UTC" in run(output, "reject", RUN)[2]


@pytest.mark.parametrize("command", ["show", "steps"])
def test_a_waiting_run_says_what_to_type(output: Path, command: str) -> None:
    """What is asked, until when, and the commands that decide stand on its pages."""
    _suspend(output, _asked("release", 3, until="2026-01-01T00:01:00.000Z"))
    code, out, _ = run(output, command, RUN)
    assert code == 0
    assert "waits for approval" in out
    words = " ".join(out.split())
    assert "release waits for approval: Go on with release? (rejected if nobody decides until" in words
    assert f"runner approve ghspec/{RUN}, or runner reject ghspec/{RUN}; then runner go" in words


def test_waiting_runs_are_listed(output: Path) -> None:
    """`runner runs --waiting` lists those that wait and nothing else; JSON has the questions."""
    _suspend(output, _asked("release", 3))
    for name in ("crud-r1-0123456789", "crud-r2-0123999999", RUN):
        layout = RunLayout(output / "ghspec" / name)
        record = RunRecord.model_validate_json(layout.metadata.read_bytes())
        write_json(layout.metadata, record.model_copy(update={"run": record.run.model_copy(update={"digest": name})}))
    rebuild(output)
    code, out, _ = run(output, "runs", "--waiting")
    assert code == 0
    assert RUN in out
    assert "crud-r1-0123456789" not in out
    assert f"ghspec/{RUN}: decide: runner approve ghspec/{RUN}" in " ".join(out.split())
    (row,) = json.loads(run(output, "runs", "--waiting", "--json")[1])
    assert (row["state"], row["outcome"], row["waits_for"][0]["step"]) == ("suspended", None, "release")
    assert len(json.loads(run(output, "runs", "--json")[1])) == 3
