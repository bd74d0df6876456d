"""Ctrl-C in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, threading, time
from runner.cli.console import Console
from runner.cli.interrupt import interruptible
from runner.cli.live import notices
from runner.execution.cancellation import Cancellation
switch = Cancellation()
console = Console(out=sys.stdout, err=sys.stderr)
with interruptible(console, notices(console), switch):
    print("ready", flush=True)
    while not switch.cancelled:
        time.sleep(0.01)
    for thread in threading.enumerate():
        if thread.name == "signal":
            thread.join()
    print("cancelled", flush=True)
    if sys.argv[1] == "waits":
        for _ in range(6000):
            time.sleep(0.01)  # short, as a signal just before a sleep does not cut it short
print("restored", signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""


def start(mode: str) -> subprocess.Popen[str]:
    """Start the program and wait until it can be interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_cancels(number: signal.Signals) -> None:
    """The first Ctrl-C or SIGTERM throws the switch, says so, and lets the program end by itself."""
    process = start("ends")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "cancelled\nrestored True\n")
    assert f"{number.name}: stopping runs" in err


@pytest.mark.processes
def test_the_second_signal_ends_the_process() -> None:
    """The second Ctrl-C ends the program at once with 130."""
    process = start("waits")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "cancelled\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
