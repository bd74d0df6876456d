"""`runner cancel RUN` while a runner is at work, with that run or with others."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.command_line import run
from support.waiting import beside, until

from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.execution.cancellation import Cancellation
from runner.execution.claim import claim
from runner.execution.control import CONTROL, Control

PROGRAM = """
import pathlib, sys, time
from runner.cli.console import Console
from runner.cli.interrupt import interruptible
from runner.cli.live import notices
from runner.execution.cancellation import Cancellation
from runner.execution.claim import claim
console = Console(out=sys.stdout, err=sys.stderr)
with claim(pathlib.Path(sys.argv[1])), interruptible(console, notices(console), Cancellation()):
    print("ready", flush=True)
    for _ in range(6000):
        time.sleep(0.01)
"""
RUN = "crud-r3-abc"
NAME = f"ghspec/{RUN}"


@pytest.fixture
def layout(output: Path) -> RunLayout:
    """Return the run that has begun and not ended."""
    return RunLayout(output / "ghspec" / RUN)


def _record(layout: RunLayout) -> RunRecord:
    return RunRecord.model_validate_json(layout.metadata.read_bytes())


def test_a_run_at_work_is_waited_for(output: Path, layout: RunLayout) -> None:
    """Its switch is thrown, and when it has ended whoever asked hears how."""

    def work() -> None:
        with claim(output), Control(output) as control, control.steering(_record(layout).run, Cancellation()) as switch:
            begun.set()
            until(lambda: switch.cancelled, "nobody stopped it")
            write_json(layout.metadata, _record(layout).model_copy(update={"outcome": "cancelled", "reason": "asked"}))

    begun = threading.Event()
    with beside(work):
        assert begun.wait(60)
        code, out, err = run(output, "cancel", NAME)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{NAME} is to be stopped; its evidence is kept", "it has ended: cancelled: asked"]


def test_a_run_whose_turn_has_not_come_is_not_waited_for(output: Path, layout: RunLayout) -> None:
    """One that a dead runner left is left out by the runner at work; whoever asked hears so at once."""
    with claim(output), Control(output) as control:
        code, out, err = run(output, "cancel", NAME)
        assert control.unwanted(_record(layout).run)
    assert (code, err) == (0, "")
    assert "it was not at work, and this `runner go` leaves it out; the next one goes on with it" in out


def test_a_runner_that_dies_before_it_hears(output: Path) -> None:
    """Nobody waits for a dead runner: what becomes of the run is said instead."""

    def work() -> None:
        with claim(output):
            begun.set()
            until((output / CONTROL / "cancel" / NAME).exists, "nobody asked")

    begun = threading.Event()
    with beside(work):
        assert begun.wait(60)
        code, out, err = run(output, "cancel", NAME)
    assert (code, err) == (0, "")
    assert "it has not ended, but its runner (process " in out


@pytest.mark.processes
def test_a_runner_that_is_slow_to_look_is_stopped_at_once_all_the_same(output: Path) -> None:
    """One that has not seen the first signal when the second comes has seen two when it goes on."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, output], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGSTOP)
    code, out, err = run(output, "cancel", "--all", "--at-once", "--no-wait")
    process.send_signal(signal.SIGCONT)
    assert process.wait(60) == 130
    process.stdout.close()
    assert (code, err) == (0, "")
    assert "was told to stop" in out
