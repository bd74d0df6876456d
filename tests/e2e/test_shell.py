"""Looking around in a step's workspace, by hand and from scripts."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

from support.project import RUNNER, Project, left_in_engine

PATIENCE = 120.0
"""Seconds that a shell may take to open on a busy machine."""


def test_one_command(chain: Project) -> None:
    """Output and exit code are the command's, the workspace is the step's, and nothing of it is left afterwards."""
    done = chain.run("shell", "chain-r1@second", "--", "sh", "-c", "cat notes.txt; echo oops >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "one more line\n" * 2)
    assert "oops" in done.stderr
    before = chain.run("shell", "chain-r1@second", "--before", "--", "cat", "notes.txt", "/in/prompt.txt")
    assert before.stdout == "one more line\nwrite"
    empty = chain.run("shell", "chain-r1@first", "--before", "--", "ls", "-A")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert not list((chain.runs / ".shells").iterdir())
    assert left_in_engine(chain) == []


def test_the_run_stays_as_it_is(chain: Project, tmp_path: Path) -> None:
    """What is done in a shell is done on a copy; with --keep that stays, and only that."""
    kept = tmp_path / "kept"
    done = chain.run(
        "shell", "chain-r1@second", "--keep", str(kept), "--", "sh", "-c", "echo mine > notes.txt; touch /in/x"
    )
    assert done.returncode == 1, "the inputs cannot be written"
    assert (kept / "workspace" / "notes.txt").read_text() == "mine\n"
    assert chain.run("verify", "chain-r1").returncode == 0
    assert str(kept) in done.stderr
    again = chain.run("shell", "chain-r1@second", "--", "cat", "notes.txt")
    assert again.stdout == "one more line\n" * 2


def test_a_script_on_the_standard_input(chain: Project) -> None:
    """Without a terminal and a command, a shell does what its input says."""
    done = subprocess.run(
        [RUNNER, "shell", "chain-r1@second"],
        cwd=chain.root,
        input="wc -l < notes.txt\nexit 4\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (4, "2")


def test_the_container_is_the_steps_own(chain: Project) -> None:
    """User, read-only root, environment and the want of a network are what the step had."""
    look = 'id -u; touch /x 2>/dev/null || echo read-only; echo $PYTHONHASHSEED; ls /sys/class/net; cat "$0"'
    done = chain.run("shell", "chain-r1@second", "--", "sh", "-c", look, "/in/step.json")
    lines = done.stdout.splitlines()
    seed = str(chain.records()["chain"]["run"]["seed"])
    assert lines[:4] == [str(os.getuid()), "read-only", seed, "lo"]
    assert '"second"' in done.stdout


class Screen:
    """A terminal with `runner shell` in it."""

    def __init__(self, project: Project, *argv: str) -> None:
        self.pid, self.handle = pty.fork()
        if self.pid == 0:  # pragma: no cover  in the child
            os.chdir(project.root)
            os.execv(RUNNER, ["runner", "shell", *argv])

    def size(self, rows: int, columns: int) -> None:
        """Make the window another size, as its owner would."""
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.handle, text.encode())

    def until(self, words: str) -> str:
        """Read until some words are on the screen; fail if they never are."""
        seen, end = b"", time.monotonic() + PATIENCE
        while words.encode() not in seen:
            ready, _, _ = select.select([self.handle], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"{words!r} never came: {seen!r}")
            seen += os.read(self.handle, 4096)
        return seen.decode()

    def end(self) -> int:
        """Return the exit code, negative after a signal."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ready, _, _ = select.select([self.handle], [], [], 0.1)
            try:
                gone = ready and not os.read(self.handle, 4096)
            except OSError:
                gone = True
            if gone:
                break
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.handle)
        return code


def test_a_person_at_a_terminal(chain: Project) -> None:
    """Keys arrive, Ctrl-C interrupts what runs inside, a new window size is told, and the exit code is the shell's."""
    screen = Screen(chain, "chain-r1@second", "--", "sh")
    screen.until("# ")
    screen.size(33, 101)
    screen.type("until stty size | grep -x '33 101'; do sleep 0.1; done; echo A$((1+1))\r")
    screen.until("A2")
    screen.type("sh -c 'echo C$((1+1)); exec sleep 600'\r")
    screen.until("C2")
    screen.type("\x03")
    screen.type("echo B$((1+2))\r")
    screen.until("B3")
    screen.type("exit 5\r")
    assert screen.end() == 5
    assert left_in_engine(chain) == []


def test_a_closed_terminal_leaves_nothing(chain: Project) -> None:
    """When the window is closed, container and copy go."""
    screen = Screen(chain, "chain-r1@second", "--", "sh")
    screen.type("echo A$((1+1))\r")
    screen.until("A2")
    os.kill(screen.pid, signal.SIGHUP)
    assert screen.end() != 0
    assert left_in_engine(chain) == []
    assert not list((chain.runs / ".shells").iterdir())


def test_a_killed_runner_is_swept_after(chain: Project) -> None:
    """Where nobody could tidy up, the next `go` removes the container and the next shell the copy, evidence stays."""
    screen = Screen(chain, "chain-r1@second", "--", "sh")
    screen.type("echo A$((1+1))\r")
    screen.until("A2")
    os.kill(screen.pid, signal.SIGKILL)
    assert screen.end() == -signal.SIGKILL
    assert left_in_engine(chain) != []
    chain.run("go", "--scenario", "chain", "--repetitions", "1")
    assert left_in_engine(chain) == []
    assert chain.run("verify", "chain-r1").returncode == 0
    chain.run("shell", "chain-r1@second", "--", "true")
    assert not list((chain.runs / ".shells").iterdir())
