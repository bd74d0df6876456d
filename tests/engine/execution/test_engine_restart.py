"""A step whose engine ends and comes back in the middle of it, on an engine of the tests' own."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.engine_bench import Bench
from support.own_engine import OwnEngine, can_run, own_engine
from support.planning import make_experiment, make_framework, make_plan

from runner.engine.docker import connect
from runner.engine.owner import current
from runner.engine.protocol import Engine
from runner.errors import EngineError
from runner.events import AttemptStarted, Event, Notice
from runner.execution.cancellation import Cancellation
from runner.execution.container import prepare_run
from runner.execution.context import Context, release
from runner.execution.gate import Gate
from runner.execution.verdict import ENDED_WITH_ENGINE
from runner.names import LABEL_KIND, LABEL_RUN, LABEL_RUN_DIR

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(bool(can_run()), reason=can_run() or "can run"),
    # docker-py's transport leaves a socket to the garbage collector when nobody listens any more.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

FIRST_TIME_LONG = "test -e /state/again && exit 0; touch /state/again; sleep 110"
"""A step that is over at once the second time."""


@pytest.fixture(scope="module")
def own() -> Iterator[OwnEngine]:
    """Start an engine that holds the base image."""
    with own_engine() as engine:
        engine.take_base_image()
        yield engine


@pytest.fixture
def events() -> list[Event]:
    """Return what the runner is told."""
    return []


@pytest.fixture
def bench(own: OwnEngine, events: list[Event], tmp_path: Path) -> Iterator[Bench]:
    """Prepare a run on the engine, and remove what it left there."""
    with connect({"DOCKER_HOST": own.host}) as engine:
        yield from _prepared(engine, own, events, tmp_path)


def _prepared(engine: Engine, own: OwnEngine, events: list[Event], folder: Path) -> Iterator[Bench]:
    (image,) = engine.images.find({LABEL_KIND: "image"})
    owner = current()
    context = Context(
        engine=engine,
        info=engine.info(),
        gateway=None,
        owner=owner,
        output=folder,
        answers={},
        images={image.id: image.id},
        events=events.append,
        cancellation=Cancellation(),
        gate=Gate(engine=engine.absence),
    )
    experiment = make_experiment(frameworks=("alpha",), scenarios=("build",), repetitions=1, model=None)
    run = make_plan(experiment, frameworks=(make_framework("alpha", network="none"),), image=image.id)[0]
    layout = context.layout(run)
    prepare_run(layout, run)
    labels = {**owner.labels(), LABEL_KIND: "workspace", LABEL_RUN: run.id, LABEL_RUN_DIR: str(layout.root)}
    name = context.object_name(run)
    engine.volumes.create(name, device=str(layout.workspace), labels=labels)
    yield Bench(context, run)
    own.clear()
    engine.volumes.remove(name)
    release(context)
    gc.collect()  # while the warnings about those sockets are still let pass


def _meanwhile(bench: Bench, deed: Callable[[], None]) -> threading.Thread:
    """Do something to the engine once the step's first line is in its state."""

    def wait_and_do() -> None:
        mark = bench.place.state / "again"
        while not mark.exists():
            time.sleep(0.05)
        deed()

    thread = threading.Thread(target=wait_and_do)
    thread.start()
    return thread


def _until_it_answers(own: OwnEngine) -> None:
    """Wait for an engine that has started: it listens long before."""
    end = time.monotonic() + 120
    while True:
        try:
            with connect({"DOCKER_HOST": own.host}) as engine:
                engine.info()
        except EngineError:
            assert time.monotonic() < end
            time.sleep(0.2)
        else:
            return


def test_volumes_outlive_the_engine(own: OwnEngine, tmp_path: Path) -> None:
    """A volume that was there before the engine started is found again, and made anew for another runner."""
    names = ("kept", "taken")
    with connect({"DOCKER_HOST": own.host}) as engine:
        for name in names:
            engine.volumes.create(name, device=str(tmp_path), labels={"whose": "one"})
    own.restart(signal.SIGKILL)
    _until_it_answers(own)
    with connect({"DOCKER_HOST": own.host}) as engine:
        engine.volumes.create("kept", device=str(tmp_path), labels={"whose": "one"})
        engine.volumes.create("taken", device=str(tmp_path), labels={"whose": "another"})
        found = dict(engine.volumes.find({"whose": None}))
        for name in names:
            engine.volumes.remove(name)
    assert found == {"kept": {"whose": "one"}, "taken": {"whose": "another"}}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_step_that_ends_with_the_engine_is_done_again(
    own: OwnEngine, bench: Bench, events: list[Event], how: signal.Signals
) -> None:
    """However the engine ends, its containers end with it, and the step is tried again when it is back."""

    def restart() -> None:
        own.end(how)
        time.sleep(8)  # longer than a single call is repeated
        own.start()

    thread = _meanwhile(bench, restart)
    done = bench.perform(FIRST_TIME_LONG)
    thread.join()
    assert [(one.outcome, one.reason) for one in done.record.attempts] == [ENDED_WITH_ENGINE, ("passed", "")]
    assert bench.again == 1
    assert done.notes[-1] == f"step begin: attempt 1 does not count, and was made again: {ENDED_WITH_ENGINE[1]}"
    assert [event.attempt for event in events if isinstance(event, AttemptStarted)] == [1, 2]
    said = [event.text for event in events if isinstance(event, Notice)]
    assert said[0].startswith(f"waiting: no Docker engine answers at {own.host} (")
    assert said[1].startswith("going on after ")
    assert bench.context.engine.observer.find({LABEL_RUN: bench.run.id}) == []


def test_a_container_may_outlive_the_engine(own: OwnEngine, bench: Bench) -> None:
    """With `live-restore` a container goes on while the engine is away, and its own end is what counts."""
    own.end()
    own.start("--live-restore")
    script = "touch /state/again; for n in 1 2 3 4 5 6; do echo $n; sleep 1; done; exit 3"

    def restart() -> None:
        own.end(signal.SIGKILL)
        time.sleep(2)
        own.start("--live-restore")

    thread = _meanwhile(bench, restart)
    done = bench.perform(script)
    thread.join()
    own.restart()
    assert [(one.outcome, one.reason) for one in done.record.attempts] == [("failed", "exit code 3")]
    assert bench.said() == "1\n2\n3\n4\n5\n6\n"
    assert bench.again == 0


def test_a_deadline_passes_while_the_engine_is_away(own: OwnEngine, bench: Bench) -> None:
    """The container keeps its own deadline, which is what the runner finds when the engine is back."""
    own.end()
    own.start("--live-restore")

    def restart() -> None:
        own.end(signal.SIGKILL)
        time.sleep(11)
        own.start("--live-restore")

    limits = bench.run.steps[0].limits.model_copy(update={"step_timeout": 8.0, "grace": 1.0})
    thread = _meanwhile(bench, restart)
    done = bench.perform("touch /state/again; sleep 60", limits=limits)
    thread.join()
    own.restart()
    assert [(one.outcome, one.reason) for one in done.record.attempts] == [
        ("timed_out", "not finished after 8 s (limits.step_timeout)")
    ]


def test_who_stops_everything_waits_for_no_engine(own: OwnEngine, bench: Bench) -> None:
    """Ctrl-C while the engine is away ends the step within seconds; the next start finds what is left of it."""

    def end() -> None:
        own.end(signal.SIGKILL)
        bench.context.cancellation.cancel()

    thread = _meanwhile(bench, end)
    done = bench.perform(FIRST_TIME_LONG)
    thread.join()
    own.start()
    assert [one.outcome for one in done.record.attempts] == ["cancelled"]
    assert any("may still run" in note for note in done.notes)
