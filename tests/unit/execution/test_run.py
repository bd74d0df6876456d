"""A run from its first step to its archive, on an engine in memory."""

from __future__ import annotations

import json
import threading

import pytest
from support.fake_world import CALLS_OF_A_RUN, World, check_finished, good_step, tell

from runner.engine.protocol import NotFound
from runner.errors import EngineError
from runner.events import AttemptStarted, ModelCalled, OutputLine, RunStarted, StepFinished, StepStarted
from runner.evidence.metrics import read_metrics
from runner.evidence.records import RunRecord
from runner.execution.run import perform_run
from runner.gateway.session import GatewayError, MeteredSink, Session, SessionSpec, Totals, ignore
from runner.testing import Box, FakeGateway

AWAY = "the engine went away"


def test_a_run_that_passes_leaves_everything(world: World) -> None:
    """Two steps: state is carried, use is measured per step and in all, nothing stays in the engine."""
    done = world.perform()
    check_finished(world, done)
    layout = world.layout
    assert (done.record.outcome, done.record.notes) == ("passed", ())
    assert (layout.workspace / "app.txt").read_text() == "Begin.Extend."
    assert [step.changed_files for step in done.record.steps] == [1, 1]
    assert layout.step(2).log("stdout").read_text() == "did: Extend.\n"
    assert (layout.step(2).inputs / "prompt.txt").read_text() == "Extend."
    wanted = {"cpu_seconds": 1.0, "api_calls": 4, "tokens_in": 30, "tokens_out": 3, "attempts": 2, "artifact_files": 1}
    assert {name: done.totals[name] for name in wanted} == wanted
    per_step = json.loads(layout.metrics.read_text())["per_step"]
    assert [(one["step"], one["tokens_in"]) for one in per_step] == [("begin", 10), ("extend", 20)]
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_events_tell_a_run_in_order(world: World) -> None:
    """Listeners hear of the run, each step, attempt and model call, in the order in which they happen."""
    world.perform()
    one_step = [StepStarted, AttemptStarted, ModelCalled, StepFinished]
    assert [type(event) for event in world.events[:-1]] == [RunStarted, *one_step, *one_step]
    heard = [json.loads(line) for line in world.layout.log.read_text().splitlines()]
    assert len(heard) == len(world.events)


def test_the_record_is_there_before_the_first_container(world: World) -> None:
    """Whoever looks while a step runs finds a record without an outcome, and earlier steps in it."""
    seen: list[RunRecord] = []

    def look(box: Box) -> int:
        seen.append(RunRecord.model_validate_json(world.layout.metadata.read_bytes()))
        return good_step(box)

    world.perform(look)
    assert [(record.outcome, len(record.steps)) for record in seen] == [(None, 0), (None, 1)]


def test_a_failing_step_skips_the_rest(world: World) -> None:
    """The run has the outcome and reason of the step that failed; what follows is skipped, and no container is made."""

    def fail(box: Box) -> int:
        good_step(box)
        box.write(b"it went wrong\n", "stderr")
        tell(box, exit_code=3)
        return 3

    done = world.perform(fail)
    check_finished(world, done)
    assert (done.record.outcome, done.record.reason) == ("failed", "step begin: exit code 3")
    assert [(step.outcome, step.reason) for step in done.record.steps] == [
        ("failed", "exit code 3"),
        ("skipped", "step begin did not pass"),
    ]
    assert world.layout.step(1).log("stderr").read_text() == "it went wrong\n"
    assert world.engine.calls.count("create") == 1
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_a_used_up_run_performs_no_further_step(world: World) -> None:
    """When limits.run_timeout is gone after a step, the next one times out without a container."""
    run = world.run.model_copy(update={"run_timeout": 1.0})

    def slow(box: Box) -> int:
        box.sleep(1.1)
        return good_step(box)

    world.engine.register(slow)
    done = perform_run(world.context, run)
    assert (done.record.outcome, done.record.steps[1].outcome) == ("timed_out", "timed_out")
    assert done.record.reason == "step extend: limits.run_timeout was used up before this step"
    assert world.engine.calls.count("create") == 1


def test_the_list_of_calls_is_complete(world: World) -> None:
    """The faults below meet every call to the engine that a run makes."""
    context, run = world.context, world.run
    before = len(world.engine.calls)
    perform_run(context, run)
    assert set(world.engine.calls[before:]) == set(CALLS_OF_A_RUN)


HARMLESS = {"usage", "remove", "volumes.remove"}
"""Calls whose failure leaves something over or unmeasured, but takes nothing from what the step did."""
LEAVES = {"logs", "remove", "volumes.remove"}
"""Calls after whose failure something has to stay in the engine."""


@pytest.mark.parametrize("error", [EngineError(AWAY), NotFound(AWAY)], ids=["refused", "missing"])
@pytest.mark.parametrize("times", [1, 1000], ids=["once", "always"])
@pytest.mark.parametrize("call", CALLS_OF_A_RUN)
def test_an_engine_fault_ends_in_a_finished_record(world: World, call: str, times: int, error: EngineError) -> None:
    """Whatever call fails, once or for good, the run ends with evidence that says so, and says what is left."""
    world.engine.fail_next(call, error, times)
    done = world.perform()
    check_finished(world, done)
    assert done.record.outcome == ("passed" if call in HARMLESS else "broken")
    notes = " ".join(done.record.notes)
    assert AWAY in done.record.reason + notes + world.layout.metrics.read_text()
    for name in (*world.containers_left, *world.volumes_left):
        assert name in notes, f"{name} is left in the engine and no note says so"
    if call not in LEAVES:
        assert (world.containers_left, world.volumes_left) == ([], [])


def test_output_that_cannot_be_kept_keeps_its_container(world: World) -> None:
    """A container goes only after its output is on disk: one that could not be read stays for the next start."""
    world.engine.fail_next("logs", EngineError(AWAY))
    done = world.perform()
    assert done.record.outcome == "broken"
    assert AWAY in done.record.reason
    assert world.containers_left == [done.record.steps[0].attempts[0].container]
    assert world.engine.observer.inspect(world.containers_left[0]).status == "exited"


def test_use_that_cannot_be_read_is_unknown_not_nothing(world: World) -> None:
    """A reading that fails costs the numbers only: they are null, with the reason, and never 0."""
    world.engine.fail_next("usage", EngineError(AWAY), times=2)
    done = world.perform()
    assert done.record.outcome == "passed"
    assert (done.totals["cpu_seconds"], done.totals["peak_memory_bytes"]) == (None, None)
    about = json.loads(world.layout.metrics.read_text())["about"]["cpu_seconds"]
    assert (about["status"], AWAY in about["reason"]) == ("unmeasured", True)
    assert done.totals["tokens_in"] == 30


def test_a_fault_in_the_second_step_keeps_the_first(world: World) -> None:
    """What had passed stays passed, with its use; the run is broken by the step that broke."""

    def fault_next(box: Box) -> int:
        code = good_step(box)
        if box.spec.name.endswith("-s01-a01"):
            world.engine.fail_next("create", EngineError(AWAY))
        return code

    done = world.perform(fault_next)
    check_finished(world, done)
    assert [step.outcome for step in done.record.steps] == ["passed", "broken"]
    assert (done.record.outcome, done.record.reason) == ("broken", f"step extend: {AWAY}")
    assert done.totals["steps_passed"] == 1
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_a_late_fault_hides_no_earlier_one(world: World) -> None:
    """When the volume cannot be removed after a step broke, the reason is the step's, and both are told."""
    world.engine.fail_next("create", EngineError(AWAY))
    world.engine.fail_next("volumes.remove", EngineError("volume is stuck"))
    done = world.perform()
    check_finished(world, done)
    assert done.record.reason == f"step begin: {AWAY}"
    assert "volume is stuck" in " ".join(done.record.notes)


def test_a_mistake_in_this_program_is_an_outcome(world: World) -> None:
    """An exception nobody expected ends the run as broken, with the trace in the run's log."""
    world.engine.fail_next("start", RuntimeError("a mistake"))
    done = world.perform()
    check_finished(world, done)
    assert done.record.outcome == "broken"
    assert "RuntimeError: a mistake" in done.record.reason
    assert "Traceback" in world.layout.log.read_text()


def test_step_without_a_way_out_called_nothing(world: World) -> None:
    """Where some steps can reach the model and others cannot, the others' noughts are facts, and totals are known."""
    first, second = world.run.steps
    run = world.run.model_copy(update={"steps": (first, second.model_copy(update={"network": "none"}))})
    done = perform_run(world.context, run)
    metrics = read_metrics(world.context.layout(run).metrics)
    assert metrics is not None
    assert [step["api_calls"] for step in metrics.per_step] == [2, 0]
    assert (done.totals["api_calls"], done.totals["tokens_in"]) == (2, 10)


class _NoDoor(FakeGateway):
    def open(self, spec: SessionSpec, on_call: MeteredSink = ignore) -> Session:
        raise GatewayError("the gateway did not start")


class _NoCount(FakeGateway):
    def close(self, session: Session) -> Totals:
        super().close(session)
        raise GatewayError("the gateway has died")


@pytest.mark.parametrize(
    ("gateway", "reason"), [(_NoDoor, "the gateway did not start"), (_NoCount, "the gateway has died")]
)
def test_a_gateway_that_fails_breaks_the_run(world: World, gateway: type[FakeGateway], reason: str) -> None:
    """Without a way out, or without its account, the run is broken, and nothing is left in the engine."""
    world.gateway = gateway(world.sockets)
    done = world.perform()
    check_finished(world, done)
    assert done.record.outcome == "broken"
    assert reason in done.record.reason
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_output_is_followed_while_it_comes(world: World) -> None:
    """With `follow`, lines arrive as events while the step still runs, and the log is complete all the same."""
    world.follow = True
    heard = threading.Event()

    def speak(box: Box) -> int:
        box.write(b"half a ")
        box.write(b"line\n")
        for _ in range(6000):
            if any(isinstance(event, OutputLine) for event in world.events):
                heard.set()
                break
            box.sleep(0.01)
        return good_step(box)

    done = world.perform(speak)
    check_finished(world, done)
    assert heard.is_set()
    lines = [event.line for event in world.events if isinstance(event, OutputLine)]
    assert lines[0] == "half a line"
    assert world.layout.step(1).log("stdout").read_text() == "half a line\ndid: Begin.\n"
