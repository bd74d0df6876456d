"""An engine that goes away or ends in the middle of things: what is waited for, what is done again, and how often."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from support.fake_world import World, check_finished, good_step, tell
from support.step_bench import Bench

from runner.engine.protocol import Unanswered
from runner.errors import EngineError
from runner.events import Event, Notice
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.superseded import SUPERSEDED
from runner.execution.breaker import Breaker
from runner.execution.context import Context
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.execution.gate import Gate
from runner.execution.run import RunDone
from runner.execution.story import Clock
from runner.execution.verdict import ENDED_WITH_ENGINE
from runner.ledger.store import ledger_path, open_ledger
from runner.plan.models import PlannedRetry, Run
from runner.testing import Box, FakeEngine, Program

AWAY = Unanswered("the engine at unix:///x was lost during POST /x", why="Connection refused")


def _ends_with(engine: FakeEngine, times: int, starts: list[str] | None = None) -> Program:
    """Return a program that the engine's own end kills so many times, and that does what it is asked then."""
    count = starts if starts is not None else []

    def program(box: Box) -> int:
        count.append(box.path("/in/prompt.txt").read_text())
        if len(count) <= times:
            engine.restart()
            return 0
        return good_step(box)

    return program


def _hands(world: World) -> Context:
    return replace(world.context, gate=Gate(engine=world.engine.absence, pause=0.01))


def _carry_out(world: World, runs: Sequence[Run] | None = None, breaker: Breaker | None = None) -> list[RunDone]:
    world.output.mkdir(exist_ok=True)
    pool = LocalPool(1, world.cancellation)
    with open_ledger(ledger_path(world.output)) as ledger:
        return list(carry_out(_hands(world), runs or world.runs(), ledger, pool, breaker=breaker))


def _notices(world: World) -> list[str]:
    return [event.text for event in world.events if isinstance(event, Notice)]


def test_what_ends_with_the_engine_is_tried_again(bench: Bench) -> None:
    """The attempt is broken and kept, and another one is made although the step has no retry."""
    bench.world.engine.register(_ends_with(bench.world.engine, 1))
    done = bench.perform()
    assert (done.record.outcome, done.interrupted) == ("passed", False)
    assert [(one.attempt, one.outcome, one.reason) for one in done.record.attempts] == [
        (1, *ENDED_WITH_ENGINE),
        (2, "passed", ""),
    ]
    assert done.notes == (f"step begin: attempt 1 does not count, and was made again: {ENDED_WITH_ENGINE[1]}",)


def test_an_engine_that_keeps_ending_is_no_accident(bench: Bench) -> None:
    """After two attempts that were made up for the step is broken."""
    bench.world.engine.register(_ends_with(bench.world.engine, 9))
    done = bench.perform()
    assert (done.record.outcome, done.record.reason) == ENDED_WITH_ENGINE
    assert len(done.record.attempts) == 3
    assert not done.interrupted


def test_such_an_attempt_is_no_retry(bench: Bench) -> None:
    """A step with two attempts has them both besides one that ended with the engine."""
    starts: list[str] = []

    def program(box: Box) -> int:
        starts.append("")
        if len(starts) == 1:
            bench.world.engine.restart()
        tell(box, exit_code=int(len(starts) < 3))
        return int(len(starts) < 3)

    bench.world.engine.register(program)
    done = bench.perform(retry=PlannedRetry(attempts=2), expect_changes=False)
    assert [one.outcome for one in done.record.attempts] == ["broken", "failed", "passed"]


def test_what_ended_by_itself_counts(bench: Bench) -> None:
    """A step that failed on its own before the engine did has failed."""

    def program(box: Box) -> int:
        tell(box, exit_code=3)
        bench.world.engine._lives += 1
        return 3

    bench.world.engine.register(program)
    done = bench.perform()
    assert [(one.outcome, one.reason) for one in done.record.attempts] == [("failed", "exit code 3")]


def test_a_container_that_outlives_the_engine_is_waited_for(world: World) -> None:
    """While the engine is away, waiting goes on for as long as that takes, and nothing is done again."""
    world.engine.fail_next("wait", AWAY, 2)
    hands = replace(world.context, gate=Gate(engine=_away_once(world, 0.2), pause=0.01))
    world.output.mkdir()
    with open_ledger(ledger_path(world.output)) as ledger:
        (done,) = carry_out(hands, world.runs(), ledger, LocalPool(1, world.cancellation))
    check_finished(world, done)
    assert done.record.outcome == "passed"
    assert [len(step.attempts) for step in done.record.steps] == [1, 1]
    first, second = _notices(world)
    assert first == "waiting: no Docker engine answers"
    assert re.fullmatch(r"going on after \d+ s", second)


def _away_once(world: World, seconds: float) -> Callable[[], str]:
    """Say that the engine is away for some time, from the first look after a container was waited for."""
    looks: list[float] = []

    def absence() -> str:
        if "wait" not in world.engine.calls:
            return ""
        looks.append(time.monotonic())
        return "no Docker engine answers" if looks[-1] - looks[0] < seconds else ""

    return absence


def test_the_time_without_an_engine_is_not_the_runs(world: World) -> None:
    """Whoever waits for the engine in the middle of a step stops the clock of the run meanwhile."""
    rests: list[Callable[[], AbstractContextManager[None]]] = []

    class Spy(Gate):
        def beside(self, resting: Callable[[], AbstractContextManager[None]]) -> Gate:
            rests.append(resting)
            return super().beside(resting)

    world.output.mkdir()
    with open_ledger(ledger_path(world.output)) as ledger:
        list(carry_out(replace(world.context, gate=Spy()), world.runs(), ledger, LocalPool(1, world.cancellation)))
    assert [getattr(one, "__func__", None) for one in rests] == [Clock.paused] * 2


@pytest.mark.parametrize("call", ["logs", "remove", "volumes.create", "volumes.remove"])
def test_calls_that_may_be_repeated_are(world: World, call: str) -> None:
    """An answer that gets lost changes nothing about the run."""
    world.engine.fail_next(call, AWAY, 2)
    (done,) = _carry_out(world)
    check_finished(world, done)
    assert done.record.outcome == "passed"
    assert done.record.notes == ()
    assert world.containers_left == world.volumes_left == []


@pytest.mark.parametrize("call", ["create", "start"])
def test_a_container_that_cannot_begin_is_made_anew(bench: Bench, call: str) -> None:
    """An engine that went away between the gate and the container costs an attempt that does not count."""
    bench.world.engine.fail_next(call, AWAY)
    done = bench.perform()
    assert [one.outcome for one in done.record.attempts] == ["broken", "passed"]
    assert bench.world.containers_left == []


def _spoils(engine: FakeEngine, times: int, starts: list[str]) -> Program:
    """Return a program whose second step changes what the first left, and ends with the engine, so many times."""

    def program(box: Box) -> int:
        code = good_step(box)
        starts.append(box.path("/in/prompt.txt").read_text())
        if starts[-1] != starts[0] and len(starts) <= 2 * times:
            engine.restart()
        return code

    return program


def _unkept(world: World) -> list[Run]:
    """Return a run that keeps nothing that could be put back."""
    return [run.model_copy(update={"history": "off"}) for run in world.runs()]


REASON = f"step extend: {ENDED_WITH_ENGINE[1]}; what step extend found cannot be put back: app.txt was changed, and "


def test_a_run_whose_step_cannot_be_put_back_is_done_again(world: World) -> None:
    """The run begins anew within the same call, and the broken one is kept aside with its reason in the notes."""
    starts: list[str] = []
    world.engine.register(_spoils(world.engine, 1, starts))
    (done,) = _carry_out(world, _unkept(world))
    assert done.record.outcome == "passed"
    assert len(starts) == 4
    (note,) = (one for one in done.record.notes if one.startswith("try 1 "))
    assert note.startswith(f"try 1 of this run broke, does not count and is kept aside: {REASON}")
    kept = RunLayout(world.output / SUPERSEDED / "alpha" / f"{world.run.id}.1")
    assert RunRecord.model_validate_json(kept.metadata.read_bytes()).reason.startswith(REASON)
    assert [text.partition(": ")[0] for text in _notices(world)] == ["it is done again"]


def test_a_run_is_not_done_again_for_ever(world: World) -> None:
    """After two more tries it is broken, and says why."""
    starts: list[str] = []
    world.engine.register(_spoils(world.engine, 9, starts))
    (done,) = _carry_out(world, _unkept(world))
    assert done.record.outcome == "broken"
    assert len(starts) == 6


def test_a_step_that_can_be_put_back_is_done_again_alone(world: World) -> None:
    """With a history the steps before it are not repeated, and each step sees what those before it left."""
    starts: list[str] = []
    world.engine.register(_spoils(world.engine, 1, starts))
    (done,) = _carry_out(world)
    check_finished(world, done)
    assert done.record.outcome == "passed"
    assert [len(step.attempts) for step in done.record.steps] == [1, 2]
    assert (world.layout.workspace / "app.txt").read_text() == "".join(dict.fromkeys(starts))


def test_runs_that_break_alike_stop_the_experiment(world: World) -> None:
    """What has not begun stays planned, and the user is told once."""
    runs = world.runs(6)

    def refuse(box: Box) -> int:
        tell(box, error=f"cannot start {box.spec.name}", exit_code=126)
        return 126

    world.engine.register(refuse)
    breaker = Breaker(3)
    done = _carry_out(world, runs, breaker)
    assert [one.record.outcome for one in done] == ["broken"] * 3
    with open_ledger(ledger_path(world.output)) as ledger:
        assert sorted(row.state for row in ledger.rows()) == ["done"] * 3 + ["planned"] * 3
    assert breaker.why.startswith("3 runs in a row broke for the same reason: step begin: cannot start cgr-alpha")
    assert _notices(world) == [f"stopped: {breaker.why}; no further run begins"]


def test_a_shut_gate_holds_back_runs(world: World) -> None:
    """No run is leased while something hinders, and stopping everything ends the waiting."""

    def hear(event: Event) -> None:
        world.events.append(event)
        if isinstance(event, Notice):
            threading.Timer(0.1, world.cancellation.cancel).start()

    hands = replace(world.context, events=hear, gate=Gate([lambda: "paused"], pause=0.01))
    world.output.mkdir()
    with open_ledger(ledger_path(world.output)) as ledger:
        assert list(carry_out(hands, world.runs(), ledger, LocalPool(1, world.cancellation))) == []
        assert [row.state for row in ledger.rows()] == ["planned"]
    assert _notices(world) == ["waiting: paused"]


def _working(world: World, others: list[str]) -> Program:
    """Return a program that notes who else is at work while it is, and ends where it is told to."""
    at_work: set[str] = set()

    def program(box: Box) -> int:
        name = box.spec.name
        others.extend(at_work)
        at_work.add(name)
        try:
            box.sleep(0.5)
            return good_step(box)
        finally:
            at_work.discard(name)

    return program


def _lose_first_start(world: World) -> None:
    """Have the engine be killed while it starts a container: that runs, and the engine takes it for never begun."""
    start = world.engine.containers.start
    lost: list[str] = []

    def begin(container: str) -> None:
        start(container)
        if not lost:
            lost.append(container)
            world.engine.lose_sight(container)
            raise AWAY

    world.engine.containers.start = begin  # type: ignore[method-assign]


def test_what_runs_unseen_is_ended_before_another_works_there(bench: Bench) -> None:
    """A container that the engine does not know to run is killed, and only then is the attempt made again."""
    world, others = bench.world, list[str]()
    world.engine.register(_working(world, others))
    _lose_first_start(world)
    done = bench.perform()
    assert [one.outcome for one in done.record.attempts] == ["broken", "passed"]
    assert others == []


def test_what_cannot_be_ended_has_its_workspace_to_itself(bench: Bench) -> None:
    """If something of a container goes on in spite of all, nothing is tried beside it; it stays for the next start."""
    world, starts = bench.world, list[str]()

    def program(box: Box) -> int:
        starts.append(box.spec.name)
        return good_step(box)

    world.engine.register(program)
    _lose_first_start(world)
    world.engine.fail_next("stop", EngineError("container c has ended for the engine, and still runs"), 2)
    done = bench.perform()
    assert [one.outcome for one in done.record.attempts] == ["broken"]
    assert len(starts) == 1
    assert world.containers_left == starts
    assert any("may still run: container c has ended for the engine, and still runs" in note for note in done.notes)


def test_what_runs_after_a_stop_has_its_workspace_to_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that says to have stopped a container, and shows it as running, is not believed."""
    world, starts = bench.world, list[str]()

    def program(box: Box) -> int:
        starts.append(box.spec.name)
        box.sleep(60)
        return good_step(box)

    world.engine.register(program)
    world.engine.fail_next("wait", EngineError("cannot wait"))
    monkeypatch.setattr(world.engine.containers, "stop", lambda *_: None)
    done = bench.perform()
    assert len(starts) == 1
    assert world.containers_left == starts
    world.engine.kill(starts[0])
    assert f"step begin: container {starts[0]} still runs in the engine" in done.notes
