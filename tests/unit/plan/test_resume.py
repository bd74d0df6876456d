"""Resume: what runs again, what does not, and the one line that says why."""

from __future__ import annotations

import dataclasses

import pytest
from support.planning import make_experiment, make_framework, make_plan, make_scenario

from runner.plan.changes import explain_change
from runner.plan.models import Run
from runner.plan.resume import Decision, PastRun, decide, to_do
from runner.spec.model import Model
from runner.spec.models import Limits, LimitsPatch

RUN = make_plan()[0]


def past(outcome: str | None, reason: str = "", run: Run = RUN) -> PastRun:
    """Return a past run that ended one May morning, or never."""
    return PastRun(
        digest=run.digest or "",
        run_id=run.id,
        framework=run.framework.name,
        scenario=run.scenario,
        repetition=run.repetition,
        outcome=outcome,
        reason=reason,
        finished_at="2026-05-01T08:09:10Z" if outcome else None,
    )


@pytest.mark.parametrize(
    ("outcome", "reason", "action", "why"),
    [
        ("passed", "", "skip", "passed on 2026-05-01 08:09"),
        ("failed", "exit code 1", "skip", "failed on 2026-05-01 08:09"),
        ("timed_out", "after 10m", "skip", "timed out on 2026-05-01 08:09"),
        ("exceeded", "", "skip", "exceeded a limit or budget on 2026-05-01 08:09"),
        (
            "exceeded",
            "step chat: budgets.run.calls is 2 and 2 are used",
            "skip",
            "exceeded a limit or budget on 2026-05-01 08:09",
        ),
        (
            "exceeded",
            "step chat: budgets.experiment.calls is 4 and 4 are used",
            "run",
            "the experiment's budget was used up last time: step chat: budgets.experiment.calls is 4 and 4 are used",
        ),
        ("broken", "no space\nleft", "run", "broken last time: no space left"),
        ("cancelled", "", "run", "cancelled last time"),
        ("skipped", "", "run", "skipped last time"),
        (None, "", "run", "was interrupted"),
    ],
)
def test_what_is_done_is_not_repeated(outcome: str | None, reason: str, action: str, why: str) -> None:
    """A framework's own results are final; what is ours, the user's or unfinished runs again; each with one line."""
    decision = decide([RUN], {past(outcome).digest: past(outcome, reason)})[0]
    assert (decision.action, decision.why, decision.run) == (action, why, RUN)
    assert "\n" not in decision.why


def test_fresh_runs_everything_and_names_what_there_was() -> None:
    """`--fresh` repeats what is done, and the line still says what it was."""
    decisions = decide(make_plan(), {past("passed").digest: past("passed")}, fresh=True)
    assert {decision.action for decision in decisions} == {"run"}
    assert [decision.why for decision in decisions[:2]] == ["--fresh (passed on 2026-05-01 08:09)", "--fresh"]


def test_one_repetitions_result_is_not_anothers() -> None:
    """Only the run that is done is skipped, not its other repetition, scenario or framework."""
    decisions = decide(make_plan(), {past("passed").digest: past("passed")})
    assert [decision.action for decision in decisions] == ["skip"] + ["run"] * 7
    assert decisions[-1].why == "never started"


def test_a_run_without_image_is_to_be_done() -> None:
    """Before the image exists nothing can be called done."""
    assert decide(make_plan(image=None), {"": past("passed")})[0].why == "its image is not built yet"


def test_a_changed_run_says_what_changed() -> None:
    """A run that is done under another digest runs again, and says which input is another."""
    new = make_plan(image="sha256:2")[0]
    asked: list[str] = []

    def previous(run: Run) -> Run | None:
        asked.append(run.id)
        return RUN

    assert decide([new], {past("passed").digest: past("passed")}, previous=previous)[0].why == "image changed"
    assert asked == [new.id]
    assert decide([new], {}, previous=lambda run: None)[0].why == "never started"


def _step(**changes: object) -> Run:
    one, *others = make_scenario().steps
    steps = (one.model_copy(update=changes), *others)
    return make_plan(scenarios=(make_scenario("build", steps=steps), make_scenario("greet")))[0]


def _framework(**changes: object) -> Run:
    return make_plan(frameworks=(make_framework("alpha", **changes), make_framework("beta")))[0]


def _experiment(**changes: object) -> Run:
    return make_plan(make_experiment(**changes))[0]


THREE_AND_MORE = (
    "swap changed from 0B to 1KiB for step begin; pids changed from 512 to 64 for step begin; "
    "swap changed from 0B to 1KiB for step extend and 1 more"
)


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (_step(prompt="Begin!"), "prompt of step begin changed"),
        (_step(expect_changes=False), "expect_changes of step begin changed"),
        (_step(limits=LimitsPatch(memory=2**30)), "memory changed from 2GiB to 1GiB for step begin"),
        (_step(limits=LimitsPatch(cpus=0.5)), "cpus changed from 1 to 0.5 for step begin"),
        (_step(limits=LimitsPatch(files=500)), "files changed from 200000 to 500 for step begin"),
        (_step(id="start"), "step begin is gone; step start is new"),
        (_framework(command=("alpha", "x")), "command of the framework changed"),
        (_framework(system_packages=("git",)), "system packages of the framework changed"),
        (make_plan(answers="b" * 64)[0], "scripted answers changed"),
        (_experiment(model=Model(provider="openai", name="m")), "model changed from scripted to openai/m"),
        (_experiment(limits=Limits(run_timeout=60.0)), "run_timeout changed from 2h to 1m"),
        (make_plan(platform="linux/arm64")[0], "platform changed from linux/amd64 to linux/arm64"),
        (_experiment(limits=Limits(pids=64, swap=1024)), THREE_AND_MORE),
        (RUN, "changed since the last time, in nothing that its record shows"),
    ],
)
def test_a_change_is_named(new: Run, why: str) -> None:
    """Each kind of change is named in one line, three at most."""
    assert explain_change(RUN, new) == why


def test_order_and_seed_are_named_too() -> None:
    """Steps that only changed places, and another seed, are named."""
    swapped = make_scenario("build", steps=make_scenario().steps[::-1])
    moved = make_plan(scenarios=(swapped, make_scenario("greet")))[0]
    assert explain_change(RUN, moved) == "order of the steps changed"
    assert explain_change(RUN, _experiment(seed=2)).startswith(f"seed changed from {RUN.seed} to ")


@pytest.mark.parametrize(
    ("answered", "action", "why"),
    [
        ("", "skip", "waits for approval: release, figures"),
        ("step figures was approved on 2026-05-01", "run", "step figures was approved on 2026-05-01"),
    ],
)
def test_what_waits_for_people_goes_on_once_they_have_decided(answered: str, action: str, why: str) -> None:
    """A suspended run is left alone until somebody has decided on one of its questions; wanted anew, it begins anew."""
    waiting = dataclasses.replace(past(None), waits_for=("release", "figures"), answered=answered)
    (decision,) = decide([RUN], {waiting.digest: waiting})
    assert (decision.action, decision.why) == (action, why)
    (fresh,) = decide([RUN], {waiting.digest: waiting}, fresh=True)
    assert (fresh.action, fresh.why) == ("run", f"--fresh ({why})")


def test_what_was_cut_off_comes_first() -> None:
    """A run whose containers may be at work is taken up before others begin; otherwise the order stays."""
    first, second, third, fourth = (RUN.model_copy(update={"id": name}) for name in ("a", "b", "c", "d"))
    decisions = [
        Decision(run=first, action="run", why=""),
        Decision(run=second, action="skip", why=""),
        Decision(run=third, action="run", why="", goes_on=True),
        Decision(run=fourth, action="run", why=""),
    ]
    assert [run.id for run in to_do(decisions)] == ["c", "a", "d"]
