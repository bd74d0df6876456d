"""A command takes its turn among all runners of the machine, as a step does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import runner
from runner.cli.queueing import queue, queue_table
from runner.engine.admission import Room
from runner.engine.owner import current
from runner.engine.reservations import Reservations, open_reservations
from runner.engine.tickets import read_tickets
from runner.errors import ConfigError
from runner.events import Event, Notice, boottime
from runner.names import LABEL_CPUS, LABEL_GPUS, LABEL_INPUTS, LABEL_MEMORY
from runner.spec.models import LimitsPatch
from runner.spec.site import Site
from runner.testing import Box, FakeEngine

GIB = 1024**3
PATIENCE = 60.0
NOBODY = Room(cpus=0, memory=0)
LIMITS = LimitsPatch(cpus=2.0, memory=GIB)


@pytest.fixture
def engine() -> FakeEngine:
    """Return an engine of four cores with an image of ours."""
    engine = FakeEngine()
    engine.add_image("demo", {LABEL_INPUTS: "0"})
    return engine


@pytest.fixture
def other(engine: FakeEngine, queue_folder: Path) -> Iterator[Reservations]:
    """Return the ticket of somebody else's experiment, who has three cores."""
    parent = queue_folder.parent
    with open_reservations(current(), engine.info(), Site(), "theirs", lambda _: NOBODY, parent=parent) as ticket:
        assert ticket.ask("x", Room(cpus=3.0, memory=GIB), run="r", step="s") == ""
        yield ticket


def test_its_limits_are_reserved_while_it_runs(engine: FakeEngine, queue_folder: Path) -> None:
    """In the queue stand its cores, its memory and what it is; its labels say the same; afterwards nothing stands there."""
    seen: list[object] = []

    def look(box: Box) -> int:
        (ticket,) = read_tickets(queue_folder)
        (one,) = ticket.demands
        seen.extend((ticket.experiment, one.run, one.step, one.cpus, one.memory, one.granted))
        seen.extend((one.key == box.spec.name, box.spec.labels[LABEL_CPUS], box.spec.labels[LABEL_MEMORY]))
        return 0

    engine.register(look)
    assert runner.run_command(["look", "-x"], image="demo", engine=engine, limits=LIMITS).ok
    assert seen == ["run_command", "demo", "look", 2.0, GIB, True, True, "2.0", str(GIB)]
    assert read_tickets(queue_folder) == []


def test_it_waits_for_its_turn_and_shows_why(
    engine: FakeEngine, other: Reservations, queue_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While three of four cores are reserved one that wants two waits, with the reason in `runner queue`; then it runs."""
    monkeypatch.setattr("runner.execution.turns._TELL_AFTER", 0.1)
    began: list[float] = []
    events: list[Event] = []

    def begin(_: Box) -> int:
        began.append(time.monotonic())
        return 0

    engine.register(begin)
    results: list[runner.CommandResult] = []

    def call() -> None:
        results.append(
            runner.run_command(["x"], image="demo", engine=engine, limits=LIMITS, on_event=events.append, timeout=60)
        )

    thread = threading.Thread(target=call)
    thread.start()
    end = time.monotonic() + PATIENCE
    while not events and time.monotonic() < end:
        time.sleep(0.02)
    rows = [[cell.text for cell in row] for row in queue_table(queue(queue_folder.parent), boottime()).rows]
    assert [(row[1], row[2], row[3], row[4], row[8]) for row in rows] == [
        ("theirs", "r", "s", "runs", ""),
        ("run_command", "demo", "x", "waits", "2 cores wanted, 3 of 4 are reserved"),
    ]
    assert began == []
    other.drop("x")
    thread.join(PATIENCE)
    assert [(one.ok, len(began)) for one in results] == [(True, 1)]
    assert [one.text for one in events if isinstance(one, Notice)] == [
        "x waits for its turn: 2 cores wanted, 3 of 4 are reserved"
    ]


def test_one_that_would_wait_too_long_says_so(engine: FakeEngine, other: Reservations) -> None:
    """After `longest_wait` it is not run: the result has the reason, and it no longer stands in the queue."""
    done = runner.run_command(["x"], image="demo", engine=engine, limits=LIMITS, longest_wait=0.3)
    assert done.exit_code is None
    assert done.error.startswith("its turn did not come in 0.3 s: 2 cores wanted, 3 of 4 are reserved")
    assert "runner queue" in done.error
    assert "create" not in engine.calls
    assert [ticket.experiment for ticket in read_tickets(other.folder)] == ["theirs"]
    with pytest.raises(ConfigError, match="longest_wait=-1 is no time"):
        runner.run_command(["x"], image="demo", engine=engine, longest_wait=-1)


def test_two_at_once_share_the_machine(engine: FakeEngine, queue_folder: Path) -> None:
    """Commands in threads of one program hold what each of them wants, and the third waits for one of them."""
    inside, most, lock, both = 0, 0, threading.Lock(), threading.Event()

    def work(_: Box) -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 2:
                both.set()
        assert both.wait(PATIENCE)
        time.sleep(0.2)
        with lock:
            inside -= 1
        return 0

    engine.register(work)
    results: list[runner.CommandResult] = []

    def call() -> None:
        results.append(runner.run_command(["x"], image="demo", engine=engine, limits=LIMITS))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [one.ok for one in results] == [True] * 3
    assert most == 2
    assert read_tickets(queue_folder) == []


def test_devices_are_its_own_or_not_to_be_had(queue_folder: Path) -> None:
    """What `limits.gpus` wants it gets for itself, as a step does; more than there are is an error, not a wait for ever."""
    engine = FakeEngine(replace(FakeEngine().info(), gpus=("0", "1")))
    engine.add_image("demo", {LABEL_INPUTS: "0"})
    seen: list[object] = []

    def look(box: Box) -> int:
        seen.extend((box.spec.gpus, box.spec.labels[LABEL_GPUS], box.spec.env["NVIDIA_VISIBLE_DEVICES"]))
        return 0

    engine.register(look)
    assert runner.run_command(["x"], image="demo", engine=engine, limits=LimitsPatch(gpus=1)).ok
    assert seen == [("0",), "0", "0"]
    many = runner.run_command(["x"], image="demo", engine=engine, limits=LimitsPatch(gpus=3))
    assert many.error == "3 GPUs are wanted (limits.gpus), and there are 2"
    assert read_tickets(queue_folder) == []


def test_the_machines_rules_hold_for_it(engine: FakeEngine, other: Reservations, tmp_path: Path) -> None:
    """A site file that gives a user one container at a time makes the second wait."""
    site = tmp_path / "site.yaml"
    site.write_text("per_user: {containers: 1}\n")
    done = runner.run_command(
        ["x"], image="demo", engine=engine, longest_wait=0, process_environment={"RUNNER_SITE": str(site)}
    )
    assert "may have 1 containers at once, and has 1" in done.error
    assert other.demands["x"].granted
