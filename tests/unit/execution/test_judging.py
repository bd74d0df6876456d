"""Checks of a run: what they are given, what becomes of what they say, and that nothing of it touches the run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.fake_world import World, check_finished, tell
from support.graphs import chart
from support.judged_world import Judged, praise, say
from support.planning import make_scenario

from runner.engine.protocol import Unanswered
from runner.evidence.verdicts import CheckVerdict
from runner.execution.judging import judge_run, refused_by
from runner.execution.run import perform_run
from runner.names import OUT_DIR, VERDICTS_FILE
from runner.plan.judging import plan_checks
from runner.spec.judging import Check
from runner.spec.scenario import Step
from runner.testing import Box, Program


def _check(**changes: Any) -> Check:
    return Check.model_validate({"id": "app", "kind": "static", **changes})


def _one(world: World, program: Program, **changes: Any) -> CheckVerdict:
    """Judge a run after its last step and return the only verdict."""
    judged = Judged(world=world, checks=[_check(**changes)], program=program)
    done = judged.perform()
    check_finished(world, done)
    assert done.record.outcome == "passed"
    (verdict,) = judged.verdicts()
    return verdict


def test_each_chosen_step_is_judged_as_it_was_then(world: World) -> None:
    """A check after all steps sees the workspace as each of them left it."""
    judged = Judged(world=world, checks=[_check(after="all")])
    judged.perform()
    assert [(one.step, one.assertions[0].reason) for one in judged.verdicts()] == [
        ("begin", "Begin."),
        ("extend", "Begin.Extend."),
    ]
    assert [one.verdict for one in (*judged.verdicts(1), *judged.verdicts(2))] == ["passed", "passed"]


def test_check_sees_a_clean_container(world: World) -> None:
    """It has no network, no state, nothing writable but the copy and /out, and its own limits."""
    seen: list[Box] = []

    def look(box: Box) -> int:
        seen.append(box)
        return praise(box)

    judged = Judged(world=world, checks=[_check(limits={"memory": "512MiB", "pids": 64})], program=look)
    judged.perform()
    spec = seen[0].spec
    assert spec.network == "none"
    assert spec.read_only
    assert {(one.target, one.read_only) for one in spec.mounts} == {
        ("/workspace", False),
        ("/in", True),
        ("/out", False),
    }
    assert (spec.resources.memory, spec.resources.pids) == (512 * 1024**2, 64)
    assert spec.argv[-3:] == ("judge", "/in/check.json", "/out/checks.json")
    assert spec.labels["org.codegen-runner.kind"] == "check"
    assert world.containers_left == []


def test_check_writes_to_a_copy(world: World) -> None:
    """What a check does to the workspace is gone when it ends."""

    def spoil(box: Box) -> int:
        box.path("app.txt", write=True).write_text("spoilt")
        box.path("more", write=True).write_text("more")
        return praise(box)

    judged = Judged(world=world, checks=[_check(), _check(id="again")], program=spoil)
    judged.perform()
    assert (world.layout.workspace / "app.txt").read_text() == "Begin.Extend."
    assert not (world.layout.workspace / "more").exists()
    assert not world.layout.judging.exists()


def test_entities_are_asked_for_once_they_have_come(world: World) -> None:
    """What is expected since a later step is not in what an earlier step's check is told."""
    entities = [
        {"name": "student", "fields": {"name": {}, "email": {"since": "extend"}}},
        {"name": "course", "since": "extend", "relations": {"student": {"to": "student", "field": "student_id"}}},
    ]
    judged = Judged(world=world, checks=[_check(kind="application", entities=entities, after="all")])
    judged.perform()
    told = [json.loads((world.layout.step(i).check("app").inputs / "check.json").read_text()) for i in (1, 2)]
    assert [[(one["name"], sorted(one["fields"])) for one in each["entities"]] for each in told] == [
        [("student", ["name"])],
        [("student", ["email", "name"]), ("course", [])],
    ]
    assert told[0]["seed"] == world.run.seed
    assert told[0]["format"] == 1


def _write(text: bytes) -> Program:
    def program(box: Box) -> int:
        tell(box)
        box.path(f"{OUT_DIR}/{VERDICTS_FILE}", write=True).write_bytes(text)
        return 0

    return program


def _link(box: Box) -> int:
    tell(box)
    box.path(f"{OUT_DIR}/{VERDICTS_FILE}", write=True).symlink_to("/etc/passwd")
    return 0


def _nothing(box: Box) -> int:
    tell(box)
    return 0


def _late(box: Box) -> int:
    say(box, {"id": "first", "verdict": "passed"})
    tell(box, exit_code=124, timed_out=True)
    return 124


def _hungry(box: Box) -> int:
    box.allocate(8 * 1024**3)
    return 0


def _worse(box: Box) -> int:
    tell(box, exit_code=3)
    return 3


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (_nothing, "the check wrote no checks.json"),
        (_write(b"{"), "cannot be used: Expecting"),
        (_write(b'{"format": 2}'), "not of format 1"),
        (_write(b"[" * 100_000), "nested too deeply"),
        (_write(b'{"format": 1, "assertions": 3}'), "asserted nothing"),
        (_link, "cannot be used"),
        (_late, "did not end within its limits.timeout, 5m"),
        (_hungry, "more memory than its limits.memory"),
        (_worse, "ended with exit code 3"),
        (lambda _: 137, "was killed, exit code 137"),
    ],
)
def test_nothing_passes_by_default(world: World, program: Program, reason: str) -> None:
    """Whatever a check leaves that is no whole verdict, it is not judged, with the reason, and the run is as it was."""
    verdict = _one(world, program)
    assert verdict.verdict == "unjudged"
    assert verdict.unjudged == 1
    assert reason in verdict.reason


def test_what_was_said_before_the_end_is_kept(world: World) -> None:
    """Assertions of a check that was too slow are kept; the whole is not passed all the same."""
    verdict = _one(world, _late)
    assert (verdict.passed, verdict.unjudged, verdict.timed_out) == (1, 1, True)


def test_program_is_judged_by_its_exit_code(world: World) -> None:
    """A scenario's own program passes with 0, and fails with its output as evidence with anything else."""

    def program(box: Box) -> int:
        assert box.spec.argv[-3:] == ("sh", "-eu", "/in/script")
        box.write(b"it is empty\n")
        tell(box, exit_code=2)
        return 2

    verdict = _one(world, program, kind="program", script="test -s app.txt")
    (assertion,) = verdict.assertions
    assert (assertion.id, assertion.verdict, assertion.reason) == ("app.exit", "failed", "it ended with exit code 2")
    assert assertion.evidence.log_tail == "it is empty"
    assert verdict.verdict == "failed"
    assert verdict.reason == ""


def test_failed_assertion_changes_no_outcome_unless_required(world: World) -> None:
    """Quality is measured: the run passes; a required check fails it, and the reason names the first assertion."""

    def refuse(box: Box) -> int:
        return say(box, {"id": "a", "verdict": "passed"}, {"id": "b", "verdict": "failed", "reason": "it is red"})

    judged = Judged(world=world, checks=[_check()], program=refuse)
    assert refused_by([]) == ""
    assert judged.perform().record.outcome == "passed"
    assert refused_by(judged.verdicts()) == ""
    required = tuple(one.model_copy(update={"required": True}) for one in judged.verdicts())
    assert refused_by(required).endswith("1 of 2, 1 failed, first b: it is red")


def test_required_check_fails_the_run(world: World) -> None:
    """A required check that fails makes the run failed; its record and archive are written as always."""

    def refuse(box: Box) -> int:
        return say(box, {"id": "b", "verdict": "failed"})

    done = Judged(world=world, checks=[_check(required=True)], program=refuse).perform()
    check_finished(world, done)
    assert done.record.outcome == "failed"
    assert done.record.reason.startswith("the required check app after step extend: 0 of 1, 1 failed")


def test_without_an_image_nothing_is_judged(world: World) -> None:
    """A run whose image of checks could not be had passes, and each verdict says so."""
    judged = Judged(world=world, checks=[_check(after="all")], changes={"checker": None})
    assert judged.perform().record.outcome == "passed"
    assert [one.reason for one in judged.verdicts()] == [
        "there is no image that judges; `runner images build checker` says why"
    ] * 2


def test_step_that_was_skipped_is_not_judged(world: World) -> None:
    """After a step that failed its workspace is judged; after one that was skipped there is nothing to judge."""

    def fail(box: Box) -> int:
        box.path("app.txt", write=True).write_text("half")
        tell(box, exit_code=1)
        return 1

    world.engine.register(fail)
    judged = Judged(world=world, checks=[_check(after="all")])
    assert judged.perform().record.outcome == "failed"
    first, second = judged.verdicts()
    assert (first.verdict, first.assertions[0].reason) == ("passed", "half")
    assert (second.verdict, second.reason) == ("unjudged", "step extend was skipped")


def test_without_history_only_the_last_workspace_is_judged(world: World) -> None:
    """What was not kept cannot be judged, and the verdict says why."""
    judged = Judged(world=world, checks=[_check(after="all")], changes={"history": "off"})
    judged.perform()
    first, second = judged.verdicts()
    assert first.reason == "the workspace after step begin was not kept: the history is off"
    assert second.assertions[0].reason == "Begin.Extend."


def test_engine_that_goes_away_under_a_check_changes_no_outcome(world: World) -> None:
    """A check whose container could not be made because no answer came is tried again."""
    creations: list[str] = []

    def begin(box: Box) -> int:
        creations.append(box.spec.name)
        return praise(box)

    judged = Judged(world=world, checks=[_check()], program=begin)
    done = perform_run(judged.context, judged.run.model_copy(update={"checks": ()}))
    assert done.record.outcome == "passed"
    world.engine.fail_next("create", Unanswered("no answer"))
    assert judge_run(judged.context, judged.run, done.record.steps) == ""
    assert [one.verdict for one in judged.verdicts()] == ["passed"]
    assert len(creations) == 1


def test_verdicts_before_a_crash_count(world: World) -> None:
    """What is judged already is not judged again when a run goes on; what was cut off is."""
    names: list[str] = []

    def note(box: Box) -> int:
        names.append(box.spec.name)
        return praise(box)

    judged = Judged(world=world, checks=[_check(after="all")], program=note)
    done = judged.perform()
    first = judged.verdicts()
    world.layout.step(2).checks.unlink()
    world.layout.checks.unlink()
    judge_run(judged.context, judged.run, done.record.steps)
    assert len(names) == 3
    assert judged.verdicts()[0] == first[0]
    assert [one.verdict for one in judged.verdicts()] == ["passed", "passed"]


def test_stopped_in_the_middle(world: World) -> None:
    """A user who stops everything while a check runs gets a run that passed, and a verdict that says why it is none."""

    def stop(box: Box) -> int:
        world.cancellation.cancel()
        box.sleep(30)
        return 0

    verdict = _one(world, stop)
    assert verdict.reason.startswith("stopped by the user before it was judged; `runner check build-r1-")
    assert verdict.judged_at is None


def test_time_of_checks_is_not_the_frameworks(world: World) -> None:
    """A check's time is in its verdict and in nobody's metrics."""

    def slow(box: Box) -> int:
        box.sleep(3)
        return praise(box)

    judged = Judged(world=world, checks=[_check()], program=slow)
    done = judged.perform()
    assert (judged.verdicts()[0].seconds or 0) > 0
    assert sum(step.attempts[0].seconds or 0 for step in done.record.steps) < 3


def _graph(world: World, text: str, checks: list[Check], **changes: dict[str, Any]) -> Judged:
    """Return a run of a graph, each of whose steps writes a file of its own name, which is judged by what is there."""

    def write(box: Box) -> int:
        name = json.loads(box.path("/in/step.json").read_text())["step"]["id"]
        box.path(name, write=True).write_text(name)
        tell(box)
        return 0

    def look(box: Box) -> int:
        there = sorted(path.name for path in box.path(".").iterdir())
        return say(box, {"id": "there", "verdict": "passed", "reason": " ".join(there)})

    world.engine.register(write)
    first = world.run.steps[0]
    steps = tuple(
        first.model_copy(
            update={"id": one.id, "index": one.index, "depends_on": one.depends_on, **changes.get(one.id, {})}
        )
        for one in chart(text)
    )
    scenario = make_scenario("build", steps=tuple(Step(id=one.id, prompt="-") for one in steps), checks=tuple(checks))
    return Judged(
        world=world, checks=(), program=look, changes={"steps": steps, "checks": plan_checks(scenario, steps)}
    )


def _said(judged: Judged) -> list[tuple[str, str]]:
    return [(one.step, one.assertions[0].reason if one.assertions else one.reason) for one in judged.verdicts()]


def test_branches_are_judged_apart_and_the_end_together(world: World) -> None:
    """Of steps beside each other each is judged on its own view; the last workspace has what all of them made."""
    judged = _graph(world, "a b:a c:a", [_check(after="all"), _check(id="end")])
    assert judged.perform().record.outcome == "passed"
    assert _said(judged) == [("a", "a"), ("b", "a b"), ("c", "a c"), ("c", "a b c")]


def test_steps_that_a_condition_left_out_are_passed_over(world: World) -> None:
    """What was never to be done is not missed: not among all, and not at the end, which the step before it left."""
    judged = _graph(world, "a b", [_check(after="all"), _check(id="end")], b={"when": ("false",)})
    assert judged.perform().record.outcome == "passed"
    assert _said(judged) == [("a", "a"), ("a", "a")]


def test_end_that_was_not_reached_is_not_judged(world: World) -> None:
    """A run that ended before its last step has no last workspace to judge."""
    judged = _graph(world, "a b c", [_check(id="end")])

    def fail(box: Box) -> int:
        tell(box, exit_code=1)
        return 1

    world.engine.register(fail)
    assert judged.perform().record.outcome == "failed"
    assert _said(judged) == [("a", "step b was skipped")]
