"""The entry shim as the main process of a container: nothing outlives a step, and its end is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.engine

Python = Callable[[str], tuple[str, ...]]

DAEMONS = """
import os, signal, sys, time
read, write = os.pipe()
for _ in range(3):
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write, b".")
            time.sleep(300)
        os._exit(0)
    os.waitpid(child, 0)
    os.read(read, 1)
"""


def test_exit_and_output_are_the_commands(containers: Any) -> None:
    """Exit code, both streams and the report of a plain command come through."""
    ended = containers.run("sh", "-c", "echo out; echo err >&2; exit 9")
    assert (ended.state.exit_code, ended.stdout, ended.stderr) == (9, "out\n", "err\n")
    assert (ended.report["exit_code"], ended.report["killed_processes"]) == (9, 0)


def test_daemons_end_with_the_command(containers: Any, python: Python) -> None:
    """Processes that left the session and ignore SIGTERM are counted and killed when the command ends."""
    ended = containers.run(*python(DAEMONS + "sys.exit(3)"))
    assert (ended.state.exit_code, ended.report["killed_processes"]) == (3, 3)
    assert ended.report["timed_out"] is False


def test_deadline_ends_the_container(containers: Any, python: Python) -> None:
    """After the deadline the container ends with 124 although everything in it ignores SIGTERM."""
    code = DAEMONS + "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(300)"
    options = ("--deadline=10", "--grace=0.5", "--log-limit=65536")
    ended = containers.run(*python(code), options=options)
    assert (ended.state.exit_code, ended.stdout) == (124, "on\n")
    assert (ended.report["timed_out"], ended.report["killed_processes"]) == (True, 4)
    assert 10.5 <= ended.report["seconds"] < 100


def test_fork_bomb_ends_with_its_container(containers: Any) -> None:
    """A bomb within the limit of processes is over at the deadline."""
    options = ("--deadline=1", "--grace=0.2", "--log-limit=4096")
    ended = containers.run("sh", "-c", "b() { b | b & }; b; while :; do b; done", options=options)
    assert ended.state.exit_code in {124, 2}
    assert ended.report["seconds"] < 150


def test_engine_stop_leaves_a_report(containers: Any, engine: Any) -> None:
    """When the engine stops the container, the step ends in time to say that it was stopped."""
    container = containers.start("sh", "-c", "trap '' TERM; echo ready; sleep 300 & wait; sleep 300")
    assert next(engine.observer.logs(container, follow=True)) == ("stdout", b"ready\n")
    engine.containers.stop(container, 30)
    ended = containers.finish(container)
    assert ended.state.exit_code == 143
    assert (ended.report["stopped"], ended.report["timed_out"]) == (True, False)


def test_out_that_cannot_be_written_changes_nothing(containers: Any) -> None:
    """With a read-only /out the step ends as it would have."""
    ended = containers.run("sh", "-c", "echo fine; exit 4", read_only_out=True)
    assert (ended.state.exit_code, ended.stdout, ended.report) == (4, "fine\n", {})


def test_missing_command_is_127(containers: Any) -> None:
    """A command that the image lacks is 127, with the reason in the report."""
    ended = containers.run("no-such-command")
    assert ended.state.exit_code == 127
    assert "command not found: 'no-such-command'" in ended.report["error"]
