"""What a plan shows of a graph."""

from __future__ import annotations

from support.planning import make_experiment, make_plan, make_scenario

from runner.plan.models import Run
from runner.plan.resume import PastRun, decide
from runner.report.plan_tables import LISTED, graph_tables, plan_values, summary
from runner.spec.scenario import Scenario, Step


def _runs(*steps: Step) -> list[Run]:
    scenario = Scenario(name="build", steps=steps)
    experiment = make_experiment(scenarios=("build", "greet"))
    return list(make_plan(experiment, scenarios=(scenario, make_scenario("greet"))))


def test_a_graph_shows_what_each_step_comes_after() -> None:
    """A scenario that is no list has one table, however many runs it has; a list has none."""
    runs = _runs(
        Step(id="a", prompt="Do a."), Step(id="b", command=("ls",), depends_on=()), Step(id="c", depends_on=("a", "b"))
    )
    (table,) = graph_tables(runs)
    assert table.title == "steps of build"
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["1", "a", "prompt", "–"],  # noqa: RUF001  # the dash that tables have for nothing
        ["2", "b", "command", "–"],  # noqa: RUF001  # as above
        ["3", "c", "prompt", "a, b"],
    ]


def test_a_long_graph_is_cut() -> None:
    """Neither many steps nor many dependencies fill the screen."""
    names = [f"s{number}" for number in range(LISTED + 1)]
    steps = (*(Step(id=name, prompt="Do.", depends_on=()) for name in names), Step(id="end", depends_on=tuple(names)))
    (table,) = graph_tables(_runs(*steps))
    assert (len(table.rows), table.notes) == (LISTED, ("and 2 more steps; --json lists every one",))
    (table,) = graph_tables(_runs(*steps[-10:-1], Step(id="end", depends_on=tuple(names[-9:]))))
    assert table.rows[-1][-1].text == "s42, s43, s44, s45, s46, s47 and 3 more"


def test_json_has_every_edge() -> None:
    """For a program, each step has the list of what it comes after."""
    runs = _runs(Step(id="a", prompt="Do a."), Step(id="b", depends_on=()), Step(id="c", depends_on=("a",)))
    values = plan_values(decide(runs, {}))[0]
    assert (values["steps"], values["after"]) == (["a", "b", "c"], {"a": [], "b": [], "c": ["a"]})


def test_what_waits_is_neither_done_nor_to_do() -> None:
    """A suspended run is counted apart from those that are done, and a program can tell it."""
    waiting, *others = _runs(Step(id="a", prompt="Do a."))
    past = PastRun(
        digest=waiting.digest or "",
        run_id=waiting.id,
        framework=waiting.framework.name,
        scenario=waiting.scenario,
        repetition=waiting.repetition,
        outcome=None,
        reason="",
        finished_at=None,
        waits_for=("release",),
    )
    decisions = decide([waiting, *others], {past.digest: past})
    assert summary(decisions) == f"{len(decisions)} runs: {len(others)} to do, 0 done, 1 waiting for approval"
    assert [one["waits"] for one in plan_values(decisions)] == [True, *(False for _ in others)]
