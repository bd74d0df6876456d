"""The matrix: every cell once, in a fair order, quickly."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.planning import make_experiment, make_framework, make_plan, make_scenario

from runner.errors import NothingSelected
from runner.plan.limits import merge_limits
from runner.plan.matrix import require_some
from runner.plan.models import Run
from runner.spec.models import Cell, Experiment, Limits, LimitsPatch

COUNTS = st.integers(1, 4)


@given(frameworks=COUNTS, scenarios=COUNTS, repetitions=COUNTS)
def test_every_cell_stands_once_and_frameworks_stay_level(frameworks: int, scenarios: int, repetitions: int) -> None:
    """Each framework meets each scenario in each repetition once; no framework is ever two runs ahead."""
    names = [f"f{n}" for n in range(frameworks)], [f"s{n}" for n in range(scenarios)]
    experiment = make_experiment(frameworks=tuple(names[0]), scenarios=tuple(names[1]), repetitions=repetitions)
    runs = make_plan(
        experiment,
        frameworks=[make_framework(name) for name in names[0]],
        scenarios=[make_scenario(name) for name in names[1]],
    )
    cells = [(run.framework.name, run.scenario, run.repetition) for run in runs]
    assert len(set(cells)) == len(cells) == frameworks * scenarios * repetitions
    assert len({run.digest for run in runs}) == len({(run.framework.name, run.id) for run in runs}) == len(runs)
    counts: Counter[str] = Counter(dict.fromkeys(names[0], 0))
    for run in runs:
        counts[run.framework.name] += 1
        assert max(counts.values()) - min(counts.values()) <= 1
    assert [run.repetition for run in runs] == sorted(run.repetition for run in runs)


@given(
    include=st.lists(st.builds(Cell, framework=st.sampled_from(["alpha", None]), repetition=st.sampled_from([1, 2, None])), max_size=2),
    exclude=st.lists(st.builds(Cell, framework=st.sampled_from(["beta", None]), scenario=st.sampled_from(["build", "greet"])), max_size=2),
)  # fmt: skip
def test_filters_only_leave_out(include: list[Cell], exclude: list[Cell]) -> None:
    """What include and exclude leave is a part of the whole plan, in order, same digests; that none is left is known before."""
    everything = make_plan()
    experiment = make_experiment(include=tuple(include), exclude=tuple(exclude))
    try:
        left = make_plan(experiment)
    except NothingSelected:
        left = []
    assert _is_refused(experiment) == (not left)
    assert left == [run for run in everything if run in left]
    for run in everything:
        hit = [_hits(rule, run) for rule in include]
        assert (run in left) == ((any(hit) or not include) and not any(_hits(rule, run) for rule in exclude))


def _is_refused(experiment: Experiment) -> bool:
    try:
        require_some(experiment)
    except NothingSelected:
        return True
    return False


def _hits(rule: Cell, run: Run) -> bool:
    pairs = ((rule.framework, run.framework.name), (rule.scenario, run.scenario), (rule.repetition, run.repetition))
    return all(wanted is None or wanted == value for wanted, value in pairs)


def test_nothing_selected_says_why() -> None:
    """An empty plan is an error of its own with the sizes involved."""
    with pytest.raises(NothingSelected) as caught:
        make_plan(make_experiment(exclude=(Cell(),)))
    assert str(caught.value) == (
        "the experiment `small` selects no run\n"
        "4 pairs of framework and scenario x 2 repetitions, less what 0 rules of include and 1 of exclude leave out\n"
        "look at include and exclude with: runner plan --explain"
    )


def test_one_of_a_thing_is_told_in_the_singular() -> None:
    """Of one pair, one repetition and one rule an empty plan speaks as of one."""
    one = make_experiment(frameworks=("alpha",), scenarios=("greet",), repetitions=1, include=(Cell(framework="beta"),))
    with pytest.raises(NothingSelected) as caught:
        require_some(one)
    assert caught.value.why == (
        "1 pair of framework and scenario x 1 repetition, less what 1 rule of include and 0 of exclude leave out"
    )


def test_a_framework_without_image_is_left_out() -> None:
    """An experiment goes on without a framework whose image could not be built."""
    runs = make_plan(frameworks=(make_framework("beta"),))
    assert {run.framework.name for run in runs} == {"beta"}


def test_a_run_is_complete_and_resolved() -> None:
    """A run holds enabled steps with prompts and merged limits, seed, image, and its id from its digest."""
    alpha = make_framework("alpha", limits=LimitsPatch(step_timeout=60.0, memory=2**30))
    run = make_plan(frameworks=(alpha, make_framework("beta", network="none")))[0]
    assert [(step.id, step.index, step.prompt) for step in run.steps] == [
        ("begin", 1, "Begin."),
        ("extend", 2, "Extend."),
    ]
    assert [step.limits.step_timeout for step in run.steps] == [60.0, 120.0]
    assert {step.limits.memory for step in run.steps} == {2**30}
    assert run.digest is not None
    assert run.id == f"build-r1-{run.digest[:10]}"
    assert (run.answers_sha256, run.run_timeout) == ("a" * 64, 7200.0)


def test_a_framework_without_network_has_no_model() -> None:
    """Model and answers belong only to frameworks that can reach them."""
    beta = make_plan()[1]
    assert (beta.framework.name, beta.model, beta.answers_sha256) == ("beta", None, None)


def test_runs_survive_json(runs: list[Run]) -> None:
    """A run is built without validation and is valid all the same: it reads back equal."""
    assert [Run.model_validate_json(run.model_dump_json()) for run in runs] == runs


@pytest.fixture
def runs() -> list[Run]:
    """Return the small plan."""
    return list(make_plan())


def test_seeds_are_the_same_for_every_framework_and_scenario() -> None:
    """Repetition n has one seed everywhere, and another than its neighbours."""
    seeds = {(run.repetition, run.seed) for run in make_plan(make_experiment(repetitions=5))}
    assert len(seeds) == len({seed for _, seed in seeds}) == 5


def test_an_image_that_is_not_built_gives_runs_without_digest() -> None:
    """A dry run before the first build still lists every run."""
    runs = make_plan(image=None)
    assert {run.digest for run in runs} == {None}
    assert runs[0].id == "build-r1-unbuilt"


def test_later_limits_win() -> None:
    """A step's limits replace the framework's, those the experiment's; nothing to replace shares the object."""
    base = Limits()
    merged = merge_limits(base, LimitsPatch(cpus=2.0, pids=100), LimitsPatch(pids=200))
    assert (merged.cpus, merged.pids, merged.memory) == (2.0, 200, base.memory)
    assert merge_limits(base, LimitsPatch(), LimitsPatch()) is base


def test_a_hundred_thousand_runs_are_planned_in_seconds_and_little_memory() -> None:
    """20 s and 1 GiB are the limit; a tenth of the runs takes well under a tenth of both."""
    experiment = make_experiment(repetitions=2500)
    started = time.process_time()
    assert len(make_plan(experiment)) == 10_000
    assert time.process_time() - started < 2.0
    tracemalloc.start()
    kept = make_plan(experiment)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 10_000
    assert used < 50 * 1024**2
