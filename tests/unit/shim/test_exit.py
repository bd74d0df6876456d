"""How a step ends under the entry shim, and what its report says."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.names import EXIT_TIMED_OUT

pytestmark = pytest.mark.processes

Shim = Callable[..., Any]
"""Fixture `shim`: runs a command to its end and returns code, stdout, stderr, report."""


def test_exit_code_is_the_commands_own(shim: Shim) -> None:
    """A command's exit code is the step's, and both streams arrive byte for byte."""
    ended = shim("sh", "-c", r"printf 'a\000b'; printf 'c\377' >&2; exit 7")
    assert (ended.code, ended.stdout, ended.stderr) == (7, b"a\0b", b"c\xff")
    assert ended.report["exit_code"] == 7
    assert (ended.report["stdout_bytes"], ended.report["stderr_bytes"]) == (3, 2)


def test_report_has_exactly_the_agreed_fields(shim: Shim) -> None:
    """The report of every ending has the same fields, so that its reader needs no guesses."""
    fields = [
        "version",
        "exit_code",
        "signal",
        "timed_out",
        "stopped",
        "seconds",
        "stdout_bytes",
        "stderr_bytes",
        "dropped_stdout",
        "dropped_stderr",
        "cpu_seconds",
        "max_rss_bytes",
        "io_read_bytes",
        "io_write_bytes",
        "killed_processes",
        "error",
    ]
    assert sorted(shim("true").report) == sorted(fields)
    assert sorted(shim("/no/such/program").report) == sorted(fields)


def test_signal_is_told_from_an_exit(shim: Shim) -> None:
    """A command killed by signal 9 gives 137 and names the signal; one that exits 137 names none."""
    killed, exited = shim("sh", "-c", "kill -9 $$"), shim("sh", "-c", "exit 137")
    assert (killed.code, killed.report["signal"]) == (137, signal.SIGKILL)
    assert (exited.code, exited.report["signal"]) == (137, None)


def test_command_sees_default_signals_and_no_input(shim: Shim) -> None:
    """The command reads end of file from stdin, and dies of SIGPIPE as it would anywhere."""
    ended = shim("sh", "-c", "cat; grep SigIgn /proc/self/status")
    assert int(ended.stdout.split()[-1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_command_reads_the_file_it_is_given(shim: Shim, tmp_path: Path) -> None:
    """The standard input is the file of --stdin, byte for byte."""
    given = tmp_path / "given"
    given.write_bytes(b"a\0b\n\xff")
    assert shim("cat", more=(f"--stdin={given}",)).stdout == b"a\0b\n\xff"


def test_standard_input_that_cannot_be_read_is_125(shim: Shim, tmp_path: Path) -> None:
    """A file for the standard input that is not there is the caller's mistake, not a missing command."""
    ended = shim("cat", more=("--stdin", str(tmp_path / "none")))
    assert ended.code == 125
    assert "none', which is to be the standard input" in ended.report["error"]


def test_program_that_does_not_exist_is_127(shim: Shim) -> None:
    """A command that is not there ends with 127, its name on stderr and in the report."""
    ended = shim("no-such-program-anywhere")
    assert ended.code == 127
    assert b"no-such-program-anywhere" in ended.stderr
    assert "command not found: 'no-such-program-anywhere'" in ended.report["error"]


def test_file_without_execute_permission_is_126(shim: Shim, tmp_path: Path) -> None:
    """A command that may not be executed ends with 126 and the reason."""
    script = tmp_path / 'script "quoted" é'
    script.write_text("#!/bin/sh\n")
    ended = shim(str(script))
    assert ended.code == 126
    assert "Permission denied" in ended.report["error"]
    assert str(script) in ended.report["error"]


@pytest.mark.parametrize(
    "arguments", [["--nonsense", "--", "true"], ["--deadline=1", "--", "true"], ["--deadline"], []]
)
def test_wrong_call_is_125(argv: Shim, arguments: list[str]) -> None:
    """A wrong command line of the shim itself is told apart from every exit of a command."""
    done = subprocess.run([argv()[0], *arguments], capture_output=True, check=False)
    assert done.returncode == 125
    assert done.stderr.startswith(b"[runner-shim] ")


def test_deadline_ends_a_command_that_ignores_signals(shim: Shim) -> None:
    """After deadline and grace a process group that ignores SIGTERM is killed, with 124 and timed_out."""
    started = time.monotonic()
    ended = shim("sh", "-c", "trap '' TERM; sleep 300 & sleep 300; sleep 300", deadline=3, grace=0.5)
    assert ended.code == EXIT_TIMED_OUT
    assert (ended.report["timed_out"], ended.report["stopped"], ended.report["exit_code"]) == (True, False, 124)
    assert ended.report["killed_processes"] >= 2
    assert time.monotonic() - started < 60


def test_deadline_lets_a_polite_command_tidy_up(shim: Shim) -> None:
    """A command that ends on SIGTERM within the grace is heard to its end, and still counts as timed out."""
    ended = shim("sh", "-c", "trap 'echo tidy; exit 0' TERM; sleep 300 & wait", deadline=3, grace=60)
    assert (ended.code, ended.stdout) == (EXIT_TIMED_OUT, b"tidy\n")
    assert ended.report["seconds"] < 60


def test_exit_124_of_a_command_is_no_deadline(shim: Shim) -> None:
    """A command may return 124 itself; the report tells the difference."""
    assert shim("sh", "-c", "exit 124").report["timed_out"] is False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_from_outside_is_143(argv: Shim, report: Shim, number: int) -> None:
    """SIGTERM or SIGINT to the shim ends the command's group and is recorded as stopped, not as timed out."""
    with subprocess.Popen(argv("sh", "-c", "echo on; sleep 30"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        process.send_signal(number)
        assert process.wait(60) == 143
    assert (report()["stopped"], report()["timed_out"]) == (True, False)


def test_children_left_behind_are_killed_and_counted(shim: Shim) -> None:
    """A background process that outlives its parent is killed, counted, and does not hold up the end."""
    started = time.monotonic()
    ended = shim("sh", "-c", "sleep 300 & echo $!; exit 3")
    assert (ended.code, ended.report["killed_processes"]) == (3, 1)
    assert time.monotonic() - started < 60
    with pytest.raises(ProcessLookupError):
        _wait_gone(int(ended.stdout))


def _wait_gone(pid: int) -> None:
    for _ in range(3000):
        os.kill(pid, 0)
        time.sleep(0.02)


def test_cpu_and_memory_are_the_commands(shim: Shim) -> None:
    """CPU time and peak memory of a busy command are reported in seconds and bytes."""
    code = "x = b'x' * 60_000_000\nimport time\nwhile time.process_time() < 0.3: pass"
    report = shim("/usr/bin/env", "python3", "-c", code).report
    assert 0.3 <= report["cpu_seconds"] < 3
    assert 60_000_000 < report["max_rss_bytes"] < 120_000_000


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_unwritable_out_does_not_change_the_exit(shim: Shim, tmp_path: Path, kind: str) -> None:
    """Where no report can be written, the step ends as it would have."""
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("not a folder")
    assert shim("sh", "-c", "exit 5", out=out).code == 5


def test_report_does_not_follow_a_planted_link(shim: Shim, tmp_path: Path) -> None:
    """Links that the command plants at the report's names are replaced, not followed."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    ended = shim("sh", "-c", f"ln -s {victim} {tmp_path}/.shim.json; ln -s {victim} {tmp_path}/.shim.json.part")
    assert victim.read_text() == "untouched"
    assert ended.report["exit_code"] == 0
    assert not (tmp_path / ".shim.json").is_symlink()


@pytest.mark.parametrize(
    "forged", ["mkdir -p {out}/.shim.json.part {out}/.shim.json/x", "echo '{{}}' >{out}/.shim.json"]
)
def test_report_is_never_the_commands(shim: Shim, tmp_path: Path, forged: str) -> None:
    """Whatever the command puts in the report's place, and takes from its folder's permissions, the report is the shim's."""
    ended = shim("sh", "-c", f"{forged.format(out=tmp_path)}; chmod 0 {tmp_path}; exit 4")
    assert ended.report["exit_code"] == 4
