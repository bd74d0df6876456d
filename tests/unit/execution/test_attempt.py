"""How a single container can end, and what is made of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.fake_world import MIB, Hooked, World, check_finished, good_step, limits, tell

from runner.engine.protocol import ContainerSpec, ContainerState
from runner.errors import EngineError
from runner.events import Event, StepFinished
from runner.execution.run import RunDone, perform_run
from runner.names import LABEL_KIND
from runner.testing import Box


def _check_broken_off(world: World, done: RunDone, outcome: str) -> None:
    check_finished(world, done)
    assert [step.outcome for step in done.record.steps] == [outcome, "skipped"]
    assert done.record.outcome == outcome
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_cancelled_before_it_begins(world: World) -> None:
    """A switch thrown before the first container: none is made, and the run is cancelled."""
    world.cancellation.cancel()
    done = world.perform()
    _check_broken_off(world, done, "cancelled")
    assert done.record.reason == "step begin: stopped by the user"
    assert "create" not in world.engine.calls


@pytest.mark.parametrize("moment", ["before", "after"])
def test_cancelled_while_being_created(world: World, moment: str) -> None:
    """A switch thrown while the engine makes the container ends it at once, whichever came first."""

    def create(spec: ContainerSpec, inner: Callable[[ContainerSpec], str]) -> str:
        if moment == "before":
            world.cancellation.cancel()
        container = inner(spec)
        if moment == "after":
            world.cancellation.cancel()
        return container

    world.engine.containers = Hooked(world.engine.containers, on_create=create)
    done = world.perform(_endless)
    _check_broken_off(world, done, "cancelled")


def _endless(box: Box) -> int:
    box.write(b"begun\n")
    box.sleep(60)
    return 0


@pytest.mark.parametrize("stubborn", [False, True])
def test_cancelled_while_running(world: World, *, stubborn: bool) -> None:
    """A running step is asked to end, and killed after the grace if it will not; what it wrote is kept."""

    def run(box: Box) -> int:
        box.ignore_sigterm = stubborn
        box.write(b"begun\n")
        world.cancellation.cancel()
        box.sleep(60)
        return 0

    world.limits = limits(grace=0.2 if stubborn else 60.0)
    done = world.perform(run)
    _check_broken_off(world, done, "cancelled")
    assert done.record.steps[0].attempts[0].exit_code == (137 if stubborn else 143)
    assert world.layout.step(1).log("stdout").read_text() == "begun\n"


def test_cancelled_between_steps(world: World) -> None:
    """A switch thrown after a step has ended leaves that step passed, if it was seen to pass, and begins no other."""

    def cancel_on(event: Event) -> None:
        if isinstance(event, StepFinished):
            world.cancellation.cancel()

    done = perform_run(replace(world.context, events=cancel_on), world.run)
    assert [step.outcome for step in done.record.steps] == ["passed", "cancelled"]
    assert done.record.outcome == "cancelled"
    assert world.engine.calls.count("create") == 1
    assert (world.containers_left, world.volumes_left) == ([], [])


def test_a_stop_that_fails_is_not_the_end(world: World) -> None:
    """When the engine refuses to stop a cancelled container, the run still waits for it and ends as cancelled."""
    world.engine.fail_next("stop", EngineError("not now"))

    def run(box: Box) -> int:
        world.cancellation.cancel()
        box.sleep(0.2)
        return good_step(box)

    done = world.perform(run)
    _check_broken_off(world, done, "cancelled")


def test_the_runner_has_a_deadline_of_its_own(world: World) -> None:
    """A container whose shim is dead is stopped by the runner some time after the deadline, and timed out."""
    inner, patience = world.engine.containers, []

    def wait(container: str, timeout: float | None, number: int) -> ContainerState | None:
        patience.append(timeout)
        return None if number == 1 else inner.wait(container, timeout)

    world.limits = limits(step_timeout=7.0)
    world.engine.containers = Hooked(inner, on_wait=wait)
    done = world.perform(_endless)
    _check_broken_off(world, done, "timed_out")
    assert done.record.reason == "step begin: not finished after 7 s (limits.step_timeout)"
    attempt = done.record.steps[0].attempts[0]
    assert (attempt.exit_code, attempt.timed_out) == (124, True)
    assert patience[0] is not None
    assert 7.2 < patience[0] < 60


def test_a_container_that_cannot_be_ended(world: World) -> None:
    """When even a kill does not show, the run is over all the same, and a note names the container that stays."""
    world.engine.containers = Hooked(world.engine.containers, on_wait=lambda *_: None)
    done = world.perform(_endless)
    check_finished(world, done)
    assert done.record.outcome in {"timed_out", "broken"}
    for name in (*world.containers_left, *world.volumes_left):
        assert name in " ".join(done.record.notes)


def test_out_of_memory_is_its_own_reason(world: World) -> None:
    """A step killed for memory has exceeded its limit; the framework is not blamed."""

    def eat(box: Box) -> int:
        box.allocate(257 * MIB)
        return 0

    done = world.perform(eat)
    _check_broken_off(world, done, "exceeded")
    assert done.record.reason == f"step begin: out of memory: limits.memory is {256 * MIB} bytes"
    assert done.record.steps[0].attempts[0].oom_killed
    assert done.totals["peak_memory_bytes"] == 256 * MIB


def test_killed_from_outside_is_broken(world: World) -> None:
    """A container somebody else killed says nothing about the framework."""

    def suffer(box: Box) -> int:
        world.engine.kill(box.spec.name)
        return 0

    _check_broken_off(world, world.perform(suffer), "broken")


def test_stopped_from_outside_is_broken(world: World) -> None:
    """A shim that was told to end its step, though nobody cancelled, was stopped by somebody else."""

    def obey(box: Box) -> int:
        good_step(box)
        tell(box, exit_code=143, signal=15, stopped=True)
        return 143

    done = world.perform(obey)
    _check_broken_off(world, done, "broken")
    assert "stopped from outside" in done.record.reason


def test_stopped_by_the_user_is_cancelled(world: World) -> None:
    """The same report, when the user cancelled, is no fault of anybody's."""

    def obey(box: Box) -> int:
        world.cancellation.cancel()
        tell(box, exit_code=143, signal=15, stopped=True)
        return 143

    _check_broken_off(world, world.perform(obey), "cancelled")


def test_nothing_done_is_failed(world: World) -> None:
    """A step that exits 0 and leaves the workspace as it was has failed."""

    def idle(box: Box) -> int:
        tell(box)
        return 0

    done = world.perform(idle)
    _check_broken_off(world, done, "failed")
    assert done.record.reason == "step begin: exited 0 but changed nothing in the workspace"


def test_a_create_whose_answer_is_lost_leaves_nothing(world: World) -> None:
    """When the engine made the container but the answer did not arrive, the container is found by name and removed."""

    def create(spec: ContainerSpec, inner: Callable[[ContainerSpec], str]) -> str:
        inner(spec)
        raise EngineError("no answer within 60 s")

    world.engine.containers = Hooked(world.engine.containers, on_create=create)
    done = world.perform()
    _check_broken_off(world, done, "broken")
    assert "no answer within 60 s" in done.record.reason


def test_a_name_taken_by_another_is_left_alone(world: World) -> None:
    """A container of that name which is not this attempt's is neither stopped nor removed."""
    stranger: list[str] = []

    def create(spec: ContainerSpec, inner: Callable[[ContainerSpec], str]) -> str:
        stranger.append(inner(replace(spec, labels={LABEL_KIND: "attempt"}, mounts=())))
        return inner(spec)

    world.engine.containers = Hooked(world.engine.containers, on_create=create)
    done = world.perform()
    check_finished(world, done)
    assert done.record.outcome == "broken"
    assert "exists already" in done.record.reason
    assert world.engine.observer.inspect(stranger[0]).status == "created"


def test_a_lost_wait_stops_what_runs(world: World) -> None:
    """When waiting fails while the step goes on, the container is stopped before its evidence is taken."""
    world.engine.fail_next("wait", EngineError("the engine restarted"))
    begun = threading.Event()

    def run(box: Box) -> int:
        box.write(b"begun\n")
        begun.set()
        box.sleep(60)
        return 0

    done = world.perform(run)
    _check_broken_off(world, done, "broken")
    assert "the engine restarted" in done.record.reason
    assert world.engine.calls.count("stop") == 1
    if begun.is_set():
        assert done.record.steps[0].attempts[0].finished_at is not None


def test_what_the_inside_reports_is_not_believed(world: World) -> None:
    """A report that cannot be read is noted and changes nothing about what the engine saw."""

    def lie(box: Box) -> int:
        good_step(box)
        box.path("/out/.shim.json", write=True).write_text("{not json")
        return 0

    done = world.perform(lie)
    check_finished(world, done)
    assert done.record.outcome == "passed"
    assert [note.split(":")[0] for note in done.record.notes] == ["step begin", "step extend"]
