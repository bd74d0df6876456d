"""Which steps can go next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.graphs import chart, graphs

from runner.plan.graph import dependencies
from runner.plan.models import PlannedStep
from runner.plan.schedule import LEFT_OUT, PASSED, Schedule, Verdict, verdict_of

FAILED = Verdict(satisfied=False)


def _ready(schedule: Schedule) -> str:
    return "".join(one.id for one in schedule.ready())


def _doomed(schedule: Schedule) -> dict[str, str]:
    return {one.id: cause for one, cause in schedule.doomed()}


def test_steps_become_ready_as_those_before_them_end() -> None:
    """A join waits for both sides; groups are no barriers."""
    schedule = Schedule(chart("a b:a c:a d:b e:b,c"))
    assert _ready(schedule) == "a"
    schedule.begin("a")
    assert (_ready(schedule), schedule.under_way) == ("", ("a",))
    schedule.end("a", PASSED)
    assert _ready(schedule) == "bc"
    schedule.begin("b")
    schedule.end("b", PASSED)
    assert _ready(schedule) == "cd"
    schedule.end("c", PASSED)
    assert _ready(schedule) == "de"
    schedule.end("d", PASSED)
    schedule.end("e", PASSED)
    assert (schedule.over, _ready(schedule)) == (True, "")


def test_a_failure_dooms_what_waits_for_it_and_nothing_else() -> None:
    """Each skipped step names the one it waited for; the other branch goes on."""
    schedule = Schedule(chart("a b:a c:b d: e:c,d"))
    schedule.end("a", FAILED)
    assert (_ready(schedule), _doomed(schedule)) == ("d", {"b": "a"})
    schedule.end("b", FAILED)
    assert _doomed(schedule) == {"c": "b"}
    schedule.end("c", FAILED)
    assert _doomed(schedule) == {}
    schedule.end("d", PASSED)
    assert _doomed(schedule) == {"e": "c"}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_cause_does_not_depend_on_who_ended_first(order: str) -> None:
    """Of two failures, the one that counts is named; of equals the first by position."""
    verdicts = {"a": Verdict(satisfied=False, counts=False), "b": FAILED}
    schedule = Schedule(chart("a: b: c:a,b"))
    for name in order:
        schedule.end(name, verdicts[name])
    assert _doomed(schedule) == {"c": "b"}
    assert not schedule.verdict("a").counts


def test_room_is_what_parallel_leaves() -> None:
    """Held steps take none."""
    schedule = Schedule(chart("a: b: c:"), parallel=2)
    assert schedule.room == 2
    schedule.begin("b")
    schedule.hold("a")
    assert (schedule.room, _ready(schedule), [one.id for one in schedule.held]) == (1, "c", ["a"])
    schedule.begin("c")
    assert schedule.room == 0
    schedule.end("a", PASSED)
    schedule.end("b", PASSED)
    assert (schedule.room, schedule.held, schedule.over) == (1, (), False)


@pytest.mark.parametrize(
    ("outcome", "tolerant", "satisfied", "counts"),
    [
        ("passed", False, True, True),
        ("failed", False, False, True),
        ("failed", True, True, False),
        ("timed_out", True, True, False),
        ("exceeded", True, True, False),
        ("broken", True, False, True),
        ("cancelled", True, False, True),
        ("skipped", True, False, True),
    ],
)
def test_what_an_outcome_means(outcome: str, tolerant: bool, satisfied: bool, counts: bool) -> None:  # noqa: FBT001  expectations
    """`continue_on_failure` puts up with the framework's failures and with limits, not with what is ours."""
    (one,) = chart("a", a={"continue_on_failure": tolerant})
    assert verdict_of(one, outcome) == Verdict(satisfied=satisfied, counts=counts)


def test_a_step_left_out_holds_nobody_up() -> None:
    """Its own condition satisfies what waits for it; one skipped for want of its value does not, and counts as little."""
    (one,) = chart("a")
    assert verdict_of(one, "skipped", counts=False, left_out=True) == LEFT_OUT
    assert verdict_of(one, "skipped", counts=False) == Verdict(satisfied=False, counts=False)


@given(graphs(), st.data())
def test_every_step_ends_once_and_after_what_it_waits_for(steps: tuple[PlannedStep, ...], data: st.DataObject) -> None:
    """In whatever order and however steps end, all come to an end, and none begins before its dependencies have ended."""
    schedule, needs = Schedule(steps, data.draw(st.sampled_from([None, 1, 2]))), dependencies(steps)
    ended: dict[str, Verdict] = {}

    def end(name: str, verdict: Verdict) -> None:
        assert name not in ended
        assert set(needs[name]) <= ended.keys()
        schedule.end(name, verdict)
        ended[name] = verdict

    while not schedule.over:
        for one, cause in schedule.doomed():
            assert not ended[cause].satisfied
            end(one.id, FAILED)
        for one in schedule.ready()[: schedule.room]:
            assert all(ended[name].satisfied for name in needs[one.id])
            schedule.begin(one.id)
        if schedule.under_way:
            end(data.draw(st.sampled_from(schedule.under_way)), data.draw(st.sampled_from([PASSED, FAILED, LEFT_OUT])))
    assert ended.keys() == {one.id for one in steps}
