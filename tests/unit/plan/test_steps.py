"""Planned steps: what each kind has by default, and what is in the digest of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.planning import make_experiment, make_framework, make_plan, make_scenario

from runner.plan.changes import explain_change
from runner.plan.digest import digest_of
from runner.plan.matrix import plan
from runner.plan.models import Ancestry, ImageRef, PlannedStep, Run
from runner.plan.steps import plan_steps
from runner.spec.models import Limits, LimitsPatch
from runner.spec.scenario import (
    Approval,
    CannedAnswer,
    ForEach,
    Input,
    ModelCall,
    Output,
    Program,
    Retry,
    Scenario,
    Step,
    Workflow,
)

_LIST = Scenario(
    name="build", steps=(Step(id="a", prompt="Do a."), Step(id="b", prompt="Do b."), Step(id="c", prompt="Do c."))
)


def _planned(*steps: Step, framework: str = "gateway", **changes: Any) -> dict[str, PlannedStep]:
    scenario = Scenario(name="build", steps=steps).model_copy(update=changes)
    workflows = {"inner": Workflow(name="inner", steps=(Step(id="x", prompt="Do x."), Step(id="y", prompt="Do y.")))}
    recipe = make_framework(network=framework, allow=("b.example",))
    images = {"base": ImageRef(tag="base", id="sha256:base")}
    return {
        step.id: step for step in plan_steps(make_experiment(), recipe, scenario, workflows=workflows, images=images)
    }


def test_a_step_that_says_nothing_waits_for_the_one_before_it() -> None:
    """Null is the step before it, so that a plain list is written as it always was; none is an empty list."""
    steps = _planned(
        Step(id="a", prompt="Do a."),
        Step(id="b", prompt="Do b.", depends_on=("a",)),
        Step(id="c", prompt="Do c.", depends_on=("a",)),
        Step(id="d", prompt="Do d.", depends_on=()),
        Step(id="e", prompt="Do e.", depends_on=("d", "a")),
    )
    assert [step.depends_on for step in steps.values()] == [None, None, ("a",), (), ("a", "d")]
    assert [step.index for step in steps.values()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step(id="s", prompt="Do."), ("prompt", True, "own", "gateway", ("b.example",))),
        (Step(id="s", prompt="Do.", workspace="read-only"), ("prompt", False, "read-only", "gateway", ("b.example",))),
        (Step(id="s", command=("ls",)), ("command", False, "own", "gateway", ("b.example",))),
        (Step(id="s", script="ls", network="none"), ("command", False, "own", "none", ())),
        (Step(id="s", check=Program(command=("ls",))), ("check", False, "read-only", "none", ())),
        (
            Step(id="s", check=Program(script="ls"), network="gateway", allow=("a.example",)),
            ("check", False, "read-only", "gateway", ("a.example", "b.example")),
        ),
        (Step(id="s", model=ModelCall(prompt="Say.")), ("model", False, "none", "gateway", ())),
        (Step(id="s", approval=Approval(message="Go on?")), ("approval", False, "none", "none", ())),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_each_kind_has_defaults_of_its_own(step: Step, expected: tuple[object, ...]) -> None:
    """Only prompts have to change something, checks change nothing and talk to nobody, models need the gateway."""
    planned = _planned(step)["s"]
    found = (planned.kind, planned.expect_changes, planned.workspace, planned.network, planned.allow)
    assert found == expected


def test_a_model_step_has_the_gateway_whatever_the_framework_has() -> None:
    """The call is made by the runner, so the framework's network has no say."""
    assert _planned(Step(id="s", model=ModelCall(prompt="Say.")), framework="none")["s"].network == "gateway"


def test_texts_programs_and_values_arrive() -> None:
    """What a step does, takes and gives is all in the plan."""
    steps = _planned(
        Step(
            id="a",
            check=Program(script="#!/bin/sh\nls\n"),
            stdin="words\n",
            outputs={"z": Output(stdout=True), "b": Output(file="b.json", type="json"), "c": Output(workspace="c")},
            image="base",
        ),
        Step(id="m", model=ModelCall(prompt="Say.", system="Be kind.", output="word", max_tokens=9)),
        Step(id="ok", approval=Approval(message="Go on?", timeout=60.0, default="approve")),
    )
    first, call, asked = steps["a"], steps["m"], steps["ok"]
    assert (first.script, first.command, first.stdin, first.prompt) == ("#!/bin/sh\nls\n", (), "words\n", "")
    assert first.image == ImageRef(tag="base", id="sha256:base")
    assert [(one.name, one.source, one.path, one.type) for one in first.outputs] == [
        ("b", "file", "b.json", "json"),
        ("c", "workspace", "c", "text"),
        ("z", "stdout", "", "text"),
    ]
    assert call.call is not None
    assert (call.call.prompt, call.call.system, call.call.max_tokens) == ("Say.", "Be kind.", 9)
    assert [(one.name, one.source) for one in call.outputs] == [("word", "answer")]
    assert asked.approval is not None
    assert (asked.approval.message, asked.approval.timeout, asked.approval.default) == ("Go on?", 60.0, "approve")


def test_a_timeout_is_the_last_word_on_the_time_of_a_step() -> None:
    """The experiment's limits, the framework's, the calling step's, the step's, its timeout: a later one wins."""
    calling = Step(id="w", workflow="inner", limits=LimitsPatch(step_timeout=50.0, pids=99))
    timed = Step(id="t", prompt="Do.", limits=LimitsPatch(step_timeout=70.0), timeout=30.0)
    steps = _planned(calling, timed)
    assert (steps["w.x"].limits.step_timeout, steps["w.y"].limits.pids) == (50.0, 99)
    assert (steps["t"].limits.step_timeout, steps["t"].limits.pids) == (30.0, 512)


def test_answers_come_from_the_nearest() -> None:
    """A step's own answers count, else the calling step's, else the scenario's; what cannot ask has none."""
    near, far, farthest = (CannedAnswer(answer=word) for word in ("near", "far", "farthest"))
    steps = _planned(
        Step(id="a", prompt="Do.", answers=(near,)),
        Step(id="w", workflow="inner", answers=(far,)),
        Step(id="b", prompt="Do."),
        Step(id="c", check=Program(command=("ls",))),
        answers=(farthest,),
    )
    found = {name: [one.answer for one in step.answers] for name, step in steps.items()}
    assert found == {"a": ["near"], "w.x": ["far"], "w.y": ["far"], "b": ["farthest"], "c": []}


def test_a_prompt_is_a_template_only_where_something_is_given_to_it() -> None:
    """Braces in a plain prompt mean nothing."""
    steps = _planned(
        Step(id="a", prompt="Print {{ x }}."),
        Step(id="b", prompt="Print {{ x }}.", inputs={"x": Input(value=1)}),
        Step(id="c", prompt="Print {{ item }}.", repeat=1),
    )
    assert [step.template for step in steps.values()] == [False, True, True]


def _first(steps: tuple[Step, ...] = _LIST.steps, **changes: Any) -> Run:
    scenario = _LIST.model_copy(update={"steps": steps, **changes})
    return make_plan(make_experiment(scenarios=("build",)), scenarios=(scenario,))[0]


def _last(**changes: Any) -> Callable[[], Run]:
    return lambda: _first((*_LIST.steps[:2], _LIST.steps[2].model_copy(update=changes)))


CHANGING: dict[str, tuple[Callable[[], Run], str]] = {
    "depends_on": (_last(depends_on=("a",)), "step c: depends_on changed"),
    "no dependency": (_last(depends_on=()), "step c: depends_on changed"),
    "inputs": (_last(inputs={"x": Input(value=1)}), "step c: inputs, template changed"),
    "outputs": (_last(outputs={"x": Output(stdout=True)}), "step c: outputs changed"),
    "when": (_last(when="seed > 1"), "step c: when changed"),
    "stdin": (_last(stdin="text"), "step c: stdin changed"),
    "retry": (_last(retry=Retry()), "step c: retry changed"),
    "continue": (_last(continue_on_failure=True), "step c: continue_on_failure changed"),
    "workspace": (_last(workspace="shared"), "step c: workspace changed"),
    "network": (_last(network="none"), "step c: network changed"),
    "answers": (_last(answers=(CannedAnswer(answer="yes"),)), "step c: answers changed"),
    "kind": (
        _last(prompt=None, command=("ls",)),
        "prompt of step c changed; expect_changes of step c changed; step c: kind, command changed",
    ),
    "timeout": (_last(timeout=30.0), "step_timeout changed from 10m to 30s for step c"),
    "list": (_last(for_each=ForEach(items=(1,))), "step c is gone; step c.1 is new"),
}
NOT_CHANGING: dict[str, Callable[[], Run]] = {
    "what is so anyway": _last(
        depends_on=("b",), workspace="own", retry=Retry(attempts=1), expect_changes=True, network="gateway"
    ),
    "group of one": _last(parallel_group="g"),
    "steps at the same time": lambda: _first(parallel=2),
}


@pytest.mark.parametrize("what", CHANGING)
def test_what_can_change_a_result_makes_another_run_and_is_told(what: str) -> None:
    """Each part of a graph's step counts, and the reason for running again names the step and the part."""
    make, sentence = CHANGING[what]
    assert make().digest != _first().digest
    assert explain_change(_first(), make()) == sentence


@pytest.mark.parametrize("what", NOT_CHANGING)
def test_what_says_the_same_in_other_words_is_the_same_run(what: str) -> None:
    """A default that is written out, or how many steps run at once, makes no run another."""
    assert NOT_CHANGING[what]().digest == _first().digest


def test_lists_have_the_digests_they_had_before_there_were_graphs() -> None:
    """What was done before steps could be a graph is not done again."""
    found = {(run.framework.name, run.id): run.digest for run in make_plan()[:2]}
    assert found == {
        ("alpha", "build-r1-af28a3a0ed"): "af28a3a0edd7d4c29a13e8aaaffaa8b030a58498c3761ad3d973b6e557bf981c",
        ("beta", "build-r1-55ea9c5aae"): "55ea9c5aae35da178f7cf619751e78e167d60b276a9b1078500964f285c5d095",
    }


def test_a_graph_has_this_digest() -> None:
    """This exact digest is what records out there hold: parts that are added to a step later must not change it."""
    steps = (
        Step(id="a", check=Program(script="ls"), outputs={"x": Output(stdout=True)}, retry=Retry(backoff=2.0)),
        Step(id="b", model=ModelCall(prompt="{{ x }}"), inputs={"x": Input(step="a", output="x")}, depends_on=("a",)),
        Step(id="c", prompt="Do.", depends_on=("a",), for_each=ForEach(items=("p",)), when="seed > 0"),
    )
    assert _first(steps).digest == "537bbb505c32f151df9f5bc049d38dc25604a4bad6377d4302720145bad7e433"


def _with_image(image_id: str | None) -> list[Run]:
    scenario = Scenario(name="build", steps=(Step(id="a", command=("ls",), image="base"),))
    experiment = make_experiment(frameworks=("alpha",), scenarios=("build",), repetitions=1)
    images = {"alpha": ImageRef(tag="alpha", id="sha256:1"), "base": ImageRef(tag="base", id=image_id)}
    recipes = {"alpha": make_framework("alpha")}
    return list(plan(experiment, recipes, {"build": scenario}, images, {}, platform="linux/amd64"))


def test_the_image_of_a_step_counts() -> None:
    """Another image of a step is another run, and one that is not built leaves the run without a digest."""
    one, other, unbuilt = (_with_image(image)[0] for image in ("sha256:2", "sha256:3", None))
    assert one.digest not in {other.digest, None}
    assert explain_change(one, other) == "image of step a changed"
    assert (unbuilt.digest, digest_of(unbuilt)) == (None, None)
    assert digest_of(one) == one.digest


def test_a_workspace_to_begin_with_counts_by_what_it_holds() -> None:
    """A forked run is another run than one from nothing, whoever it was forked from."""
    origin = Ancestry(run="r", digest="d", step="a", index=1, workspace_sha256="f" * 64, note="other model")
    run = _first()
    forked = run.model_copy(update={"parent": origin})
    same = run.model_copy(update={"parent": origin.model_copy(update={"run": "q", "note": ""})})
    assert digest_of(forked) not in {run.digest, None}
    assert digest_of(forked) == digest_of(same)
    assert explain_change(run, forked) == "the workspace that it begins with changed"


@given(st.sampled_from(sorted(CHANGING)))
def test_a_graph_crosses_a_process_as_json(what: str) -> None:
    """A planned graph reads back as it was, and its digest can be made anew from it."""
    run = CHANGING[what][0]()
    again = Run.model_validate_json(run.model_dump_json())
    assert again == run
    assert digest_of(again) == run.digest


def test_the_scenarios_limit_of_steps_is_planned() -> None:
    """How many steps run at once is the run's, for whoever carries it out."""
    assert (_first(parallel=3).parallel, _first().parallel) == (3, None)


def test_limits_of_the_experiment_reach_every_step() -> None:
    """A graph's steps have the experiment's limits like a list's."""
    scenario = make_scenario(steps=(Step(id="a", command=("ls",)),))
    run = make_plan(make_experiment(limits=Limits(pids=77)), scenarios=(scenario, make_scenario("greet")))[0]
    assert run.steps[0].limits.pids == 77
