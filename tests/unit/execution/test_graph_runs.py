"""Whole runs whose steps are a graph, on an engine in memory."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from support.fake_world import World, check_finished, tell
from support.graphs import chart

from runner.events import Notice, RunStarted, RunSuspended, StepFinished
from runner.evidence.records import RunRecord
from runner.execution.approvals import Answer, answer
from runner.execution.resume import reload
from runner.execution.run import RunDone, perform_run
from runner.execution.slots import Slots
from runner.plan.models import PlannedApproval, PlannedInput, PlannedOutput, Run
from runner.testing import Box

PATIENCE = 60.0
APPROVAL: Mapping[str, Any] = {"kind": "approval", "approval": PlannedApproval(message="Go on?"), "workspace": "none"}


def _run(world: World, text: str, **changes: dict[str, Any]) -> Run:
    """Return a run of a graph, of which each step writes a file of its own name."""
    model = world.run.steps[0]
    steps = tuple(
        model.model_copy(
            update={
                "id": one.id,
                "index": one.index,
                "prompt": one.id,
                "depends_on": one.depends_on,
                **changes.get(one.id, {}),
            }
        )
        for one in chart(text)
    )
    return world.run.model_copy(update={"steps": steps})


def _step(box: Box) -> str:
    name = json.loads(box.path("/in/step.json").read_text())["step"]["id"]
    assert isinstance(name, str)
    return name


def _write(box: Box) -> int:
    """Write a file named as the step, with the names of the files that were there."""
    there = sorted(path.name for path in box.path(".").iterdir())
    box.path(_step(box), write=True).write_text(" ".join(there))
    tell(box)
    return 0


def _each(**programs: Callable[[Box], int]) -> Callable[[Box], int]:
    """Return a program that does something of its own in the steps that are named."""
    return lambda box: programs.get(_step(box), _write)(box)


def _fail(box: Box) -> int:
    _write(box)
    tell(box, exit_code=3)
    return 3


def _outcomes(done: RunDone) -> dict[str, str]:
    return {step.id: step.outcome for step in done.record.steps}


def _files(world: World, run: Run) -> dict[str, str]:
    return {path.name: path.read_text() for path in world.context.layout(run).workspace.iterdir()}


def test_what_is_ready_runs_side_by_side_on_views(world: World) -> None:
    """Both branches are under way at once, neither sees the other's file, and the join sees all."""
    together = threading.Barrier(2, timeout=PATIENCE)

    def meet(box: Box) -> int:
        together.wait()
        return _write(box)

    world.engine.register(_each(b=meet, c=meet))
    run = _run(world, "a b:a c:a d:b,c")
    done = perform_run(world.context, run)
    assert (done.record.outcome, done.record.reason, done.record.notes) == ("passed", "", ())
    assert [step.id for step in done.record.steps] == ["a", "b", "c", "d"]
    assert _files(world, run) == {"a": "", "b": "a", "c": "a", "d": "a b c"}
    assert RunRecord.model_validate_json(world.context.layout(run).metadata.read_bytes()) == done.record
    assert done.totals["cpu_seconds"] is not None
    assert (world.containers_left, world.volumes_left) == ([], [])
    assert world.gateway.open_sessions == {}


def test_slots_hold_back_what_is_ready(world: World) -> None:
    """With one slot no two containers are there at once, and all steps are performed in order of position."""
    lock, order = threading.Lock(), []

    def alone(box: Box) -> int:
        assert lock.acquire(blocking=False)
        order.append(_step(box))
        box.sleep(0.01)
        lock.release()
        return _write(box)

    world.engine.register(alone)
    run = _run(world, "a: b: c: d:")
    done = perform_run(dataclasses.replace(world.context, slots=Slots(1)), run)
    assert done.record.outcome == "passed"
    assert order == ["a", "b", "c", "d"]


def test_a_failure_stops_what_depends_on_it_and_nothing_else(world: World) -> None:
    """The other branch goes on; the run has the outcome of the first step, by position, that did not pass."""
    world.engine.register(_each(b=_fail))
    done = perform_run(world.context, _run(world, "a b:a c:a d:b e:c f:d,e"))
    assert _outcomes(done) == {
        "a": "passed",
        "b": "failed",
        "c": "passed",
        "d": "skipped",
        "e": "passed",
        "f": "skipped",
    }
    assert (done.record.outcome, done.record.reason) == ("failed", "step b: exit code 3")
    reasons = {step.id: step.reason for step in done.record.steps}
    assert (reasons["d"], reasons["f"]) == ("step b did not pass", "step d did not pass")


def test_a_tolerated_failure_is_told_and_does_not_count(world: World) -> None:
    """With continue_on_failure the run goes on, passes, and has a note of what failed."""
    world.engine.register(_each(a=_fail))
    done = perform_run(world.context, _run(world, "a b", a={"continue_on_failure": True}))
    assert _outcomes(done) == {"a": "failed", "b": "passed"}
    assert [step.counts for step in done.record.steps] == [False, True]
    assert (done.record.outcome, done.record.reason) == ("passed", "")
    assert done.record.notes == ("step a failed, and the run may go on without it: exit code 3",)


def test_a_step_left_out_holds_nothing_up(world: World) -> None:
    """What its condition leaves out is skipped, does not count, and what waits for it goes on; its value is missed."""
    wants = PlannedInput(name="x", source="step", step="a", output="x", type="text")
    gives = PlannedOutput(name="x", source="file", path="x")
    changes: dict[str, dict[str, Any]] = {
        "a": {"when": ("repetition > 1",), "outputs": (gives,)},
        "c": {"inputs": (wants,)},
    }
    world.engine.register(_write)
    done = perform_run(world.context, _run(world, "a: b:a c:a d:c", **changes))
    assert _outcomes(done) == {"a": "skipped", "b": "passed", "c": "skipped", "d": "skipped"}
    assert [step.counts for step in done.record.steps] == [False, True, False, False]
    assert (done.record.outcome, done.record.reason) == ("passed", "")
    assert "a" in next(step.reason for step in done.record.steps if step.id == "c")


def test_branches_that_contradict_fail_the_join(world: World) -> None:
    """Neither side is overwritten, both are named, and the step that needs both has failed without a container."""

    def same(box: Box) -> int:
        box.path("shared.txt", write=True).write_text(_step(box))
        tell(box)
        return 0

    world.engine.register(_each(b=same, c=same))
    run = _run(world, "a b:a c:a d:b,c")
    done = perform_run(world.context, run)
    joined = done.record.steps[3]
    assert (joined.outcome, joined.conflicts, joined.attempts) == ("failed", ("shared.txt",), ())
    assert done.record.outcome == "failed"
    assert "shared.txt" in done.record.reason
    assert "shared.txt" not in _files(world, run)
    ended = [event.step for event in world.events if isinstance(event, StepFinished)]
    assert sorted(ended) == ["a", "b", "c", "d"]


def test_branches_that_contradict_at_the_end_fail_the_run(world: World) -> None:
    """Without a join the run fails that would have passed; its steps have passed all the same."""

    def same(box: Box) -> int:
        box.path("shared.txt", write=True).write_text(_step(box))
        tell(box)
        return 0

    world.engine.register(_each(b=same, c=same))
    run = _run(world, "a b:a c:a")
    done = perform_run(world.context, run)
    assert set(_outcomes(done).values()) == {"passed"}
    assert done.record.outcome == "failed"
    assert "shared.txt" in done.record.reason
    assert not world.context.layout(run).views.exists()


def test_a_mistake_in_one_branch_keeps_the_others_evidence(world: World) -> None:
    """What was under way beside it ends and is recorded; the run is broken, and what never began is skipped."""
    begun, over = threading.Event(), threading.Event()

    def slow(box: Box) -> int:
        begun.set()
        over.wait(PATIENCE)
        return _write(box)

    def spoil(event: object) -> None:
        world.events.append(event)  # type: ignore[arg-type]  # a listener takes any event
        if isinstance(event, StepFinished) and event.step == "b":
            assert begun.wait(PATIENCE)
            over.set()
            raise RuntimeError("a listener broke")

    world.engine.register(_each(c=slow))
    run = _run(world, "a b:a c:a d:b,c")
    done = perform_run(dataclasses.replace(world.context, events=spoil), run)
    assert _outcomes(done) == {"a": "passed", "b": "broken", "c": "passed", "d": "skipped"}
    assert done.record.outcome == "broken"
    assert "a listener broke" in done.record.reason
    about = json.loads(world.context.layout(run).metrics.read_bytes())["about"]["cpu_seconds"]
    assert (about["status"], about["exact"]) == ("partial", False)
    assert about["reason"] == "not counted, as cut off while under way: b"
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_a_step_whose_changes_cannot_be_taken_keeps_its_evidence(world: World) -> None:
    """It is broken for a reason of its own, with its attempt and what that used; the other branch is not touched."""
    run = _run(world, "a b:a c:a d:b,c")
    layout = world.context.layout(run)

    def block(box: Box) -> int:
        (layout.views / "step_002" / "changes.json").mkdir()
        return _write(box)

    world.engine.register(_each(b=block))
    done = perform_run(world.context, run)
    assert _outcomes(done) == {"a": "passed", "b": "broken", "c": "passed", "d": "skipped"}
    broken, untouched = done.record.steps[1:3]
    assert (done.record.outcome, done.record.reason) == ("broken", broken.reason)
    assert "changes.json" in broken.reason
    assert "\n" not in broken.reason
    assert (len(broken.attempts), len(untouched.attempts), done.record.steps[3].reason) == (1, 1, "step b did not pass")
    assert (done.totals["attempts"], done.totals["steps_passed"]) == (3, 2)
    assert json.loads(layout.step(2).metrics.read_bytes())["steps_passed"] == 0
    about = json.loads(layout.metrics.read_bytes())["about"]["cpu_seconds"]
    assert (about["status"], about["reason"]) == ("measured", "")


def test_steps_that_cannot_be_made_ready_have_reasons_of_their_own(world: World) -> None:
    """Each says what was in its own way, and what others used is the whole of it."""
    run = _run(world, "a b:a c:a d:b,c")
    layout = world.context.layout(run)

    def block(box: Box) -> int:
        layout.views.mkdir(exist_ok=True)
        (layout.views / "step_002").write_text("")
        return _write(box)

    world.engine.register(_each(a=block))
    done = perform_run(world.context, run)
    assert _outcomes(done)["b"] == "broken"
    assert "step_002" in done.record.steps[1].reason
    assert _outcomes(done)["c"] in {"passed", "skipped"}
    assert (_outcomes(done)["d"], done.record.outcome) == ("skipped", "broken")
    assert json.loads(layout.metrics.read_bytes())["about"]["cpu_seconds"]["status"] == "measured"
    for step in done.record.steps:
        assert layout.step(step.index).metrics.is_file()


def test_time_side_by_side_counts_once(world: World) -> None:
    """limits.run_timeout is wall time: four steps of a second each fit into four seconds side by side, six in a row do not."""

    def slow(box: Box) -> int:
        box.sleep(1)
        return _write(box)

    world.engine.register(slow)
    run = _run(world, "a: b: c: d:").model_copy(update={"run_timeout": 4.0})
    assert perform_run(world.context, run).record.outcome == "passed"
    one_by_one = _run(world, "a b c d e f").model_copy(update={"run_timeout": 4.0, "id": "other"})
    assert perform_run(world.context, one_by_one).record.outcome == "timed_out"


def test_the_switch_ends_every_branch(world: World) -> None:
    """Steps under way are cancelled, those that are ready too, and the run is."""
    both = threading.Barrier(2, action=world.cancellation.cancel, timeout=PATIENCE)

    def wait(box: Box) -> int:
        both.wait()
        box.sleep(60)
        return 0

    world.engine.register(_each(a=wait, b=wait))
    done = perform_run(dataclasses.replace(world.context, slots=Slots(2)), _run(world, "a: b: c: d:c"))
    assert _outcomes(done) == {"a": "cancelled", "b": "cancelled", "c": "cancelled", "d": "skipped"}
    assert done.record.outcome == "cancelled"
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_the_switch_makes_nothing_ready_for_what_has_not_begun(world: World) -> None:
    """The user does not wait for copies of the workspace in which nothing will happen."""

    def stop(box: Box) -> int:
        world.cancellation.cancel()
        box.sleep(60)
        return 0

    world.engine.register(_each(b=stop))
    run = _run(world, "a b:a c:a d:a")
    done = perform_run(dataclasses.replace(world.context, slots=Slots(1)), run)
    assert _outcomes(done) == {"a": "passed", "b": "cancelled", "c": "cancelled", "d": "cancelled"}
    assert [len(step.attempts) for step in done.record.steps] == [1, 1, 0, 0]
    assert world.engine.calls.count("volumes.create") == len(["trunk", "view of b"])
    assert not world.context.layout(run).views.exists()


def _again(world: World, run: Run, done: RunDone) -> RunDone:
    return perform_run(world.context, run, reload(world.context, world.context.layout(run), done.record))


def _decide(world: World, run: Run, index: int, decision: str) -> None:
    given = {"step": "b", "decision": decision, "message": "as I say", "decided_at": "2030-01-01T00:00:00.000Z"}
    assert answer(world.context.layout(run), index, Answer.model_validate(given)) is None


@pytest.mark.parametrize("text", ["a b c", "a b:a c:b d:a e:c,d"])
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_an_approval_suspends_and_a_decision_goes_on(world: World, text: str, decision: str) -> None:
    """All that does not wait is done, then the run lets go of everything; later it goes on where it was."""
    world.engine.register(_write)
    run = _run(world, text, b=dict(APPROVAL))
    first = perform_run(world.context, run)
    beside = {"d"} if "d:" in text else set()
    assert (first.record.outcome, first.record.finished_at) == (None, None)
    assert set(_outcomes(first)) == {"a"} | beside
    assert [(one.step, one.message) for one in first.record.suspended] == [("b", "Go on?")]
    assert (world.containers_left, world.volumes_left) == ([], [])
    assert isinstance(world.events[-1], RunSuspended)
    assert [event.text for event in world.events if isinstance(event, Notice)] == ["step b waits for approval: Go on?"]
    layout = world.context.layout(run)
    assert RunRecord.model_validate_json(layout.metadata.read_bytes()) == first.record
    assert not layout.archive("zstd").exists()
    unanswered = _again(world, run, first)
    assert unanswered.record.suspended == first.record.suspended
    _decide(world, run, 2, decision)
    made = world.engine.calls.count("create")
    last = _again(world, run, unanswered)
    assert world.engine.calls.count("create") - made == (0 if decision == "reject" else 1 + len(beside))
    done = last.record.steps[1]
    assert done.decision is not None
    assert (done.decision.decision, done.decision.message) == (decision, "as I say")
    assert last.record.suspended == ()
    assert layout.archive("zstd").exists()
    assert last.totals["attempts"] == 1 + len(beside) + (0 if decision == "reject" else 1 + len(beside))
    if decision == "approve":
        assert (last.record.outcome, last.record.reason) == ("passed", "")
        assert _files(world, run) == {"a": "", "c": "a", **({"d": "a", "e": "a c d"} if beside else {})}
    else:
        assert (last.record.outcome, last.record.reason) == ("failed", "step b: rejected: as I say")
    started = [(event.steps_done, event.resumed) for event in world.events if isinstance(event, RunStarted)]
    assert started == [(0, False), (1 + len(beside), True), (1 + len(beside), True)]


def test_a_question_of_several_lines_takes_one_in_the_log(world: World) -> None:
    """What is told is one line; the record keeps the question as it is, and a rejection's words are one reason."""
    world.engine.register(_write)
    asks = {"approval": PlannedApproval(message="Is one\n good?\n", timeout=None, default="reject")}
    run = _run(world, "a b", b=dict(APPROVAL) | asks)
    first = perform_run(world.context, run)
    assert [event.text for event in world.events if isinstance(event, Notice)] == [
        "step b waits for approval: Is one good?"
    ]
    assert first.record.suspended[0].message == "Is one\n good?\n"
    given = {"step": "b", "decision": "reject", "message": "no,\nnot yet", "decided_at": "2030-01-01T00:00:00.000Z"}
    assert answer(world.context.layout(run), 2, Answer.model_validate(given)) is None
    assert _again(world, run, first).record.reason == "step b: rejected: no, not yet"


def test_what_was_left_out_before_a_suspension_still_is(world: World) -> None:
    """After it, a step that waits for one that was left out, and for the decision, goes on."""
    world.engine.register(_write)
    changes: dict[str, dict[str, Any]] = {"a": {"when": ("repetition > 1",)}, "b": dict(APPROVAL)}
    run = _run(world, "a: b: c:a,b", **changes)
    first = perform_run(world.context, run)
    _decide(world, run, 2, "approve")
    last = _again(world, run, first)
    assert _outcomes(last) == {"a": "skipped", "b": "passed", "c": "passed"}
    assert last.record.outcome == "passed"


def test_time_before_a_suspension_is_not_had_again(world: World) -> None:
    """What limits.run_timeout allows is for the whole run: what was used up before is gone, the waiting is not counted."""
    world.engine.register(_write)
    run = _run(world, "a b c", b=dict(APPROVAL)).model_copy(update={"run_timeout": 3600.0})
    first = perform_run(world.context, run)
    _decide(world, run, 2, "approve")
    long = {"started_at": "2030-01-01T00:00:00.000Z", "finished_at": "2030-01-01T02:00:00.000Z"}
    record = first.record.model_copy(update={"steps": (first.record.steps[0].model_copy(update=long),)})
    last = perform_run(world.context, run, reload(world.context, world.context.layout(run), record))
    assert (last.record.outcome, last.record.steps[2].attempts) == ("timed_out", ())


def test_nobody_is_asked_in_a_run_that_is_done_again(world: World) -> None:
    """When a step was cancelled the run ends so, instead of waiting for an answer that would be lost."""

    def cancel(box: Box) -> int:
        world.cancellation.cancel()
        box.sleep(60)
        return 0

    world.engine.register(_each(a=cancel))
    done = perform_run(world.context, _run(world, "a: b: c:b", b=dict(APPROVAL)))
    assert (done.record.outcome, done.record.suspended) == ("cancelled", ())
    assert _outcomes(done) == {"a": "cancelled", "b": "skipped", "c": "skipped"}


def test_a_large_run_is_recorded_whole_in_the_end(world: World) -> None:
    """With more steps than the record is written after, the final one has all of them, and so has each step's folder."""

    def idle(box: Box) -> int:
        tell(box)
        return 0

    world.engine.register(idle)
    plain = {"depends_on": (), "workspace": "none", "expect_changes": False}
    (one,) = _run(world, "a", a=plain).steps
    steps = tuple(one.model_copy(update={"id": f"s{index}", "index": index}) for index in range(1, 121))
    run = world.run.model_copy(update={"archive": "off", "history": "off", "steps": steps})
    done = perform_run(world.context, run)
    layout = world.context.layout(run)
    assert done.record.outcome == "passed"
    assert len(RunRecord.model_validate_json(layout.metadata.read_bytes()).steps) == 120
    assert all(layout.step(index).metadata.exists() for index in range(1, 121))


def test_a_linear_run_still_leaves_everything(world: World) -> None:
    """The plain case is what it was."""
    check_finished(world, world.perform())
