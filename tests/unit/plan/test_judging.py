"""Checks as they are planned: after which steps, what can be expected by then, and what their version is."""

from __future__ import annotations

from typing import Any

import pytest
from support.planning import make_experiment, make_framework, make_plan, make_scenario

from runner.plan.digest import digest_of
from runner.plan.judging import expected, kept_checks, plan_checks, version_of
from runner.plan.models import Checker, ImageRef, Run
from runner.spec.judging import Check
from runner.spec.scenario import Approval, Scenario, Step


def _check(**changes: Any) -> Check:
    return Check.model_validate({"id": "api", "kind": "application", **changes})


def _run(*steps: Step, **changes: Any) -> tuple[Scenario, Run]:
    scenario = make_scenario("build", **({"steps": steps} if steps else {}), **changes)
    experiment = make_experiment(frameworks=("alpha",), scenarios=("build",), repetitions=1)
    return scenario, make_plan(experiment, frameworks=[make_framework()], scenarios=[scenario])[0]


def _after(scenario: Scenario, run: Run, **changes: Any) -> list[tuple[str, bool, tuple[str, ...]]]:
    (planned,) = plan_checks(scenario.model_copy(update={"checks": (_check(**changes),)}), run.steps)
    return [(at.step, at.final, at.come) for at in planned.after]


def test_checks_change_no_identity() -> None:
    """Whatever is judged, and with whatever image, a run has the digest that it has without."""
    _, bare = _run()
    _, judged = _run(checks=(_check(after="all"),))
    assert judged.digest == bare.digest
    assert judged.checks
    assert digest_of(judged.model_copy(update={"checker": None})) == bare.digest


def test_last_is_the_last_workspace() -> None:
    """By default a check judges once, what is there at the end, when all steps have come; an approval leaves nothing."""
    scenario, run = _run(
        Step(id="a", prompt="a"), Step(id="b", prompt="b"), Step(id="ask", approval=Approval(message="Good?"))
    )
    assert _after(scenario, run) == [("b", True, ("a", "b", "ask"))]


def test_all_are_those_that_leave_a_workspace() -> None:
    """`all` leaves out what cannot change anything, and each knows the steps that have come by then."""
    scenario, run = _run(
        Step(id="a", prompt="a"),
        Step(id="ask", approval=Approval(message="Good?")),
        Step(id="b", prompt="b"),
    )
    assert _after(scenario, run, after="all") == [("a", False, ("a",)), ("b", False, ("a", "ask", "b"))]


def test_step_of_several_is_judged_after_the_last() -> None:
    """Of a repeated step the state after its last repetition is meant, and it has come only then."""
    scenario, run = _run(Step(id="a", prompt="a", repeat=3), Step(id="a.b", prompt="b"))
    assert [step.id for step in run.steps] == ["a.1", "a.2", "a.3", "a.b"]
    assert _after(scenario, run, after=["a.b", "a"]) == [("a.3", False, ("a",)), ("a.b", False, ("a", "a.b"))]
    assert _after(scenario, run, after="all")[1] == ("a.2", False, ())


def test_steps_beside_each_other_do_not_know_of_each_other() -> None:
    """In a graph only what had to end before a step has come when it ends."""
    scenario, run = _run(
        Step(id="a", prompt="a"),
        Step(id="b", prompt="b", depends_on=("a",)),
        Step(id="c", prompt="c", depends_on=("a",)),
    )
    assert _after(scenario, run, after=["c", "b"]) == [("b", False, ("a", "b")), ("c", False, ("a", "c"))]


def test_what_is_expected_grows() -> None:
    """Entities, fields and relations appear with their steps; a relation to what has not come yet does not."""
    check = _check(
        entities=[
            {"name": "student", "fields": {"name": {}, "email": {"since": "b"}}},
            {"name": "course", "relations": {"teacher": {"to": "teacher", "field": "teacher_id"}}},
            {"name": "teacher", "since": "b"},
        ]
    )

    def shown(*come: str) -> list[tuple[str, list[str], list[str]]]:
        return [(one.name, list(one.fields), list(one.relations)) for one in expected(check, come)]

    assert shown("a") == [("student", ["name"], []), ("course", [], [])]
    assert shown("a", "b") == [("student", ["name", "email"], []), ("course", [], ["teacher"]), ("teacher", [], [])]


def test_version_is_what_is_asked_and_who_judges() -> None:
    """When it judges and how it is called change no version; another question, image or command does."""
    checker = Checker(image=ImageRef(tag="checker", id="sha256:1"), command=("judge",))
    version = version_of(_check(), checker)
    same = _check(id="other", title="Other", after="all", required=True)
    assert version_of(same, checker.model_copy(update={"image": ImageRef(tag="new tag", id="sha256:1")})) == version
    others = [
        version_of(_check(persistence=False), checker),
        version_of(_check(limits={"memory": "2GiB"}), checker),
        version_of(_check(), checker.model_copy(update={"image": ImageRef(tag="checker", id="sha256:2")})),
        version_of(_check(), checker.model_copy(update={"command": ("judge", "-v")})),
        version_of(_check(), None),
    ]
    assert len({version, *others}) == 6


@pytest.mark.parametrize(("steps", "left"), [({"extend"}, ["extend"]), ({"elsewhere"}, [])])
def test_fork_keeps_checks_of_its_steps(steps: set[str], left: list[str]) -> None:
    """A run that goes on from the middle of another judges after the steps that it has."""
    scenario, run = _run()
    planned = plan_checks(scenario.model_copy(update={"checks": (_check(after="all"),)}), run.steps)
    assert [at.step for one in kept_checks(planned, steps) for at in one.after] == left
