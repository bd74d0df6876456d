"""The driver of graphs, with steps that are nothing but waiting, against a simulation written in another way."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import chart, graphs
from support.simulation import Imagined, simulate

from runner.execution import graph as module
from runner.execution.cancellation import Cancellation
from runner.execution.graph import Consideration, contained, drive
from runner.execution.slots import Slots, Turn
from runner.plan.graph import is_linear
from runner.plan.models import PlannedStep
from runner.plan.schedule import LEFT_OUT, PASSED, Schedule, Verdict, verdict_of

PATIENCE = 60.0
KINDS = ("prompt", "prompt", "prompt", "model", "approval")


@dataclass
class FakeHands:
    """Steps that end when they are told to."""

    fates: Mapping[str, Imagined]
    changed: threading.Condition = field(default_factory=threading.Condition)
    running: set[str] = field(default_factory=set)
    may_end: set[str] = field(default_factory=set)
    performed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    most: int = 0
    """Most containers at once."""
    turns: int = 0
    raises: str = ""
    """Step that breaks this program."""
    before: frozenset[str] = frozenset()
    """Steps whose containers an earlier runner began."""

    def consider(self, step: PlannedStep) -> Consideration:
        fate = self.fates[step.id].fate
        if fate == "left out":
            self.left_out.add(step.id)
            return LEFT_OUT
        if step.kind != "approval":
            return "perform"
        return "wait" if fate == "never decided" else verdict_of(step, "passed" if fate == "passed" else "broken")

    def begun_before(self, step: PlannedStep) -> str:
        return step.id if step.id in self.before else ""

    def perform(self, step: PlannedStep, turn: Turn | None) -> Verdict:
        assert contained(step) == (turn is not None)
        with self.changed:
            self.running.add(step.id)
            self.performed.append(step.id)
            self.turns += contained(step)
            self.most = max(self.most, self.turns)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: step.id in self.may_end, PATIENCE), f"{step.id} was never told to end"
            self.running.discard(step.id)
            self.turns -= contained(step)
            self.changed.notify_all()
        if step.id == self.raises:
            raise RuntimeError(f"a mistake in {step.id}")
        return verdict_of(step, self.fates[step.id].fate)

    def skip(self, step: PlannedStep, cause: str, *, counts: bool) -> Verdict:
        self.skipped[step.id] = cause
        return Verdict(satisfied=False, counts=counts)

    def end(self, name: str) -> None:
        """Let a step end."""
        with self.changed:
            self.may_end.add(name)
            self.changed.notify_all()

    def expect(self, names: frozenset[str]) -> None:
        """Wait until exactly these steps are under way."""
        with self.changed:
            reached = self.changed.wait_for(lambda: self.running == names, PATIENCE)
            assert reached, f"under way are {sorted(self.running)}, not {sorted(names)}"


@contextmanager
def _driven(
    steps: tuple[PlannedStep, ...],
    hands: FakeHands,
    slots: Slots,
    *,
    parallel: int | None = None,
    cancellation: Cancellation | None = None,
    errors: list[RuntimeError] | None = None,
) -> Iterator[Schedule]:
    """Drive the graph in another thread for the length of the block, then wait until it is over."""
    schedule = Schedule(steps, parallel)
    raised: list[RuntimeError] = []

    def work() -> None:
        try:
            drive(schedule, hands, slots, cancellation or Cancellation(), inline=is_linear(steps))
        except RuntimeError as error:
            (raised if errors is None else errors).append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield schedule
    finally:
        with hands.changed:
            hands.may_end |= {one.id for one in steps}
            hands.changed.notify_all()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert raised == []


@st.composite
def stories(draw: st.DrawFn) -> tuple[tuple[PlannedStep, ...], dict[str, Imagined]]:
    """Draw a graph, and what happens to each of its steps."""
    steps = draw(graphs(kinds=KINDS))
    common = ["passed", "passed", "passed", "failed", "broken", "left out"]
    return steps, {
        one.id: Imagined(
            seconds=draw(st.integers(1, 9)),
            fate=draw(st.sampled_from([*common, "never decided"] if one.kind == "approval" else common)),
        )
        for one in steps
    }


@given(stories(), st.integers(1, 4), st.sampled_from([None, None, 1, 2, 3]))
@settings(max_examples=150, deadline=None)
def test_the_driver_does_what_the_simulation_does(
    story: tuple[tuple[PlannedStep, ...], dict[str, Imagined]], slots: int, parallel: int | None
) -> None:
    """After every end the same steps are under way, never fewer and never more; in the end the same have been performed.

    So no slot is idle while something is ready, the first ready step gets it, and nothing goes beyond the limits.
    """
    steps, fates = story
    wanted = simulate(steps, fates, slots=slots, parallel=parallel)
    hands = FakeHands(fates)
    with _driven(steps, hands, Slots(slots), parallel=parallel) as schedule:
        for ended, running in wanted.moments:
            if ended:
                hands.end(ended)
            hands.expect(running)
    assert schedule.under_way == ()
    assert {one.id for one in schedule.held} == wanted.waiting
    known = {name for name in fates if name in wanted.good | wanted.bad}
    assert {name: schedule.verdict(name).satisfied for name in known} == {name: name in wanted.good for name in known}
    performed = set(hands.performed)
    approvals = {one.id for one in steps if one.kind == "approval"}
    assert performed | set(hands.skipped) | hands.left_out | (approvals & known) == known
    assert not performed & (set(hands.skipped) | hands.left_out)
    assert hands.most <= slots


def _all_pass(steps: tuple[PlannedStep, ...]) -> FakeHands:
    return FakeHands({one.id: Imagined(seconds=1, fate="passed") for one in steps})


def test_runs_share_the_slots_of_an_experiment() -> None:
    """Two wide runs with three slots have three containers together, and whatever one does not need the other takes."""
    wide, narrow = chart("a: b: c: d:"), chart("e f")
    first, second, slots = _all_pass(wide), _all_pass(narrow), Slots(3)
    with _driven(wide, first, slots):
        first.expect(frozenset("abc"))
        with _driven(narrow, second, slots):
            while not slots._queue:
                pass
            first.end("b")
            second.expect(frozenset("e"))
            first.expect(frozenset("ac"))
            while not slots._queue:
                pass
            second.end("e")
            first.expect(frozenset("acd"))
            while not slots._queue:
                pass
            first.end("a")
            second.expect(frozenset("f"))


def test_steps_without_a_container_need_no_slot() -> None:
    """Model calls go on while every slot is taken."""
    steps = chart("a: b: c:", b={"kind": "model"}, c={"kind": "model"})
    hands = _all_pass(steps)
    with _driven(steps, hands, Slots(1)):
        hands.expect(frozenset("abc"))


@pytest.mark.parametrize("text", ["a: b: c:a d:b e:", "a b c"])
def test_a_mistake_ends_the_driving_when_all_under_way_have_ended(text: str) -> None:
    """The first error comes out, nothing begins after it, and its step is the one still under way."""
    steps = chart(text)
    hands = _all_pass(steps)
    hands.raises = "a"
    errors: list[RuntimeError] = []
    slots, together = Slots(2), frozenset("ab") if ":" in text else frozenset("a")
    with _driven(steps, hands, slots, errors=errors) as schedule:
        hands.expect(together)
        hands.end("a")
        while slots._taken == len(together):
            pass
    assert [str(error) for error in errors] == ["a mistake in a"]
    assert schedule.under_way == ("a",)
    assert set(hands.performed) <= {"a", "b"}
    assert hands.running == set()


def test_a_mistake_keeps_who_waits_for_a_slot_from_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that gets its slot after the mistake is not begun any more."""
    close, known = module._Crew.close, threading.Event()

    def closed(crew: module._Crew) -> None:
        close(crew)
        known.set()

    monkeypatch.setattr(module._Crew, "close", closed)
    steps, slots, errors = chart("a: b:", a={"kind": "model"}), Slots(1), list[RuntimeError]()
    hands = _all_pass(steps)
    hands.raises = "a"
    with slots.one(Cancellation()) as turn, _driven(steps, hands, slots, errors=errors):
        hands.expect(frozenset("a"))
        while not slots._queue:
            pass
        hands.end("a")
        assert known.wait(PATIENCE)
        turn.give_back()
    assert [str(error) for error in errors] == ["a mistake in a"]
    assert hands.performed == ["a"]


def test_who_waits_for_a_slot_finds_no_room_when_earlier_steps_have_taken_it() -> None:
    """Calls that became ready meanwhile and come first have the run's room; the contained step begins after them."""
    call = {"kind": "model"}
    steps, slots = chart("a: b:a c:a d:", a=call, b=call, c=call), Slots(1)
    hands = _all_pass(steps)
    with slots.one(Cancellation()) as turn, _driven(steps, hands, slots, parallel=2):
        hands.expect(frozenset("a"))
        while not slots._queue:
            pass
        hands.end("a")
        hands.expect(frozenset("bc"))
        turn.give_back()
        while slots._taken:
            pass
        assert hands.running == {"b", "c"}
        hands.end("b")
        hands.expect(frozenset("cd"))


def test_after_the_switch_nobody_waits_for_a_slot() -> None:
    """What is ready is performed at once, so that it can say that it was cancelled; without the switch it would wait."""
    steps, cancellation = chart("a: b: c:"), Cancellation()
    hands, slots = _all_pass(steps), Slots(1)
    with slots.one(cancellation), _driven(steps, hands, slots, cancellation=cancellation):
        cancellation.cancel()
        with hands.changed:
            assert hands.changed.wait_for(lambda: len(hands.performed) > 0, PATIENCE)
    assert sorted(hands.performed) == ["a", "b", "c"]


def test_a_decision_is_seen_while_others_are_under_way() -> None:
    """What waits for a person goes on as soon as there is an answer, not when the branch beside it has ended."""
    steps = chart("a: b: c:b", b={"kind": "approval"})
    fates = {**_all_pass(steps).fates, "b": Imagined(seconds=1, fate="never decided")}
    hands = FakeHands(fates)
    with _driven(steps, hands, Slots(2)):
        hands.expect(frozenset("a"))
        fates["b"] = Imagined(seconds=1, fate="passed")
        hands.expect(frozenset("ac"))


def test_what_only_waits_is_left_waiting() -> None:
    """A run with nothing but an open question returns instead of holding a thread."""
    steps = chart("a b c", b={"kind": "approval"})
    hands = FakeHands({**_all_pass(steps).fates, "b": Imagined(seconds=1, fate="never decided")})
    with _driven(steps, hands, Slots(1)) as schedule:
        hands.end("a")
    assert (hands.performed, [one.id for one in schedule.held], schedule.over) == (["a"], ["b"], False)
    assert schedule.verdict("a") == PASSED


@pytest.mark.parametrize("parallel", [None, 1])
def test_what_an_earlier_runner_began_is_taken_up_whatever_room_there_is(parallel: int | None) -> None:
    """Three containers run and there is one slot: all three are taken up, and nothing new begins until none is left."""
    steps = chart("a: b: c: d: e:")
    hands = FakeHands({one.id: Imagined(seconds=1, fate="passed") for one in steps}, before=frozenset("bce"))
    slots = Slots(1)
    with _driven(steps, hands, slots, parallel=parallel):
        hands.expect(frozenset("bce"))
        for ended, left in (("b", "ce"), ("e", "c")):
            hands.end(ended)
            hands.expect(frozenset(left))
        threading.Event().wait(0.05)
        assert hands.running == {"c"}
        hands.end("c")
        hands.expect(frozenset("a"))
        hands.end("a")
        hands.expect(frozenset("d"))
    assert slots._taken == 0


def test_what_cannot_be_taken_up_at_once_keeps_nothing_waiting() -> None:
    """A container whose step waits for another that has to be performed first fills no slot until it is taken up."""
    steps = chart("a: b:a c:")
    hands = FakeHands({one.id: Imagined(seconds=1, fate="passed") for one in steps}, before=frozenset("b"))
    slots = Slots(1)
    slots.expect(["b"])
    with _driven(steps, hands, slots):
        hands.expect(frozenset("a"))
    assert slots._taken == 0
