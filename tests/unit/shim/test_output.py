"""What becomes of a step's output: exact up to the limit, bounded and accounted for beyond it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes

Shim = Callable[..., Any]
PRINT = "import sys; sys.stdout.buffer.write("


def test_half_of_the_limit_passes_unchanged(shim: Shim) -> None:
    """Output of exactly half the limit has no marker in it."""
    ended = shim("python3", "-c", PRINT + "b'abcd' * 250)", log=2000)
    assert ended.stdout == b"abcd" * 250
    assert ended.report["dropped_stdout"] == 0


def test_beyond_the_limit_beginning_and_end_are_kept(shim: Shim) -> None:
    """Of too much output the first half and the last half of the limit are kept, with the dropped bytes stated."""
    ended = shim("python3", "-c", PRINT + "b''.join(b'%07d\\n' % i for i in range(1000)))", log=1600)
    first, marker, rest = ended.stdout[:800], ended.stdout[800:-800], ended.stdout[-800:]
    assert first == b"".join(b"%07d\n" % i for i in range(100))
    assert rest == b"".join(b"%07d\n" % i for i in range(900, 1000))
    assert marker == (
        b"\n[runner-shim] stdout: more than 800 bytes; from here on only the last 800 are kept\n"
        b"\n[runner-shim] stdout: 6400 bytes were dropped here\n"
    )
    assert (ended.report["stdout_bytes"], ended.report["dropped_stdout"]) == (8000, 6400)


@pytest.mark.parametrize("size", [1001, 1500, 2000, 2001, 2999, 3000])
def test_no_byte_is_unaccounted_for(shim: Shim, size: int) -> None:
    """Whatever the size and however it is written, kept and dropped bytes add up and the end is the true end."""
    code = (
        "import os\n"
        f"data = bytes(i % 251 for i in range({size}))\n"
        "for i in range(0, len(data), 7): os.write(2, data[i:i + 7])"
    )
    ended = shim("python3", "-c", code, log=2000)
    data = bytes(i % 251 for i in range(size))
    kept = min(size - 1000, 1000)
    assert ended.stderr.startswith(data[:1000])
    assert ended.stderr.endswith(b"\n" + data[-kept:])
    assert ended.report["dropped_stderr"] == size - 1000 - kept


def test_streams_are_bounded_apart(shim: Shim) -> None:
    """A flood on stdout takes nothing from stderr."""
    ended = shim("sh", "-c", "head -c 100000 /dev/zero; echo fine >&2", log=4096)
    assert ended.stderr == b"fine\n"
    assert ended.report["dropped_stdout"] == 100000 - 4096


def test_a_line_without_end_takes_no_memory(argv: Shim, report: Shim) -> None:
    """A gigabyte in one line passes with memory bounded by the limit."""
    command = argv("sh", "-c", "head -c 1000000000 /dev/zero", log=1 << 20, deadline=200)
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
            peak = int(peaks[0]) * 1024 if peaks else peak
            time.sleep(0.02)
    assert process.returncode == 0
    assert 1 << 20 < peak < 32 << 20
    assert report()["stdout_bytes"] == 1_000_000_000


def test_reader_that_stalls_does_not_beat_the_deadline(argv: Shim, report: Shim) -> None:
    """A deadline holds although nobody reads on; only what was read and what fits into the pipe is not dropped."""
    command = argv("sh", "-c", "exec cat /dev/zero", log=1 << 22, deadline=4, grace=0.2)
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        time.sleep(0.2)
        read = len(process.stdout.read(4096) or b"")
        started = time.monotonic()
        assert process.wait(100) == 124
        assert time.monotonic() - started < 60
    assert report()["stdout_bytes"] - report()["dropped_stdout"] == read + 65536


def test_reader_that_goes_away_does_not_harm_the_command(argv: Shim, report: Shim, tmp_path: Path) -> None:
    """A command whose output nobody wants any more still runs to its end."""
    gone = tmp_path / "gone"
    script = f"until test -e {gone}; do sleep 0.05; done; echo lost; exit 4"
    with subprocess.Popen(argv("sh", "-c", script), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        gone.touch()
        assert process.wait(60) == 4
    assert report()["dropped_stdout"] == 5


def test_output_comes_as_it_is_written(argv: Shim) -> None:
    """A line is passed on at once, not when the command ends."""
    with subprocess.Popen(argv("sh", "-c", "echo now; sleep 30"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.terminate()


def test_pipe_held_open_by_a_stranger_does_not_hold_up_the_end(argv: Shim) -> None:
    """A process that left the group and keeps stdout open does not keep the step from ending."""
    with subprocess.Popen(argv("sh", "-c", "setsid sleep 150 & echo done"), stdout=subprocess.PIPE) as process:
        started = time.monotonic()
        assert process.wait(60) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"done\n"
        assert time.monotonic() - started < 60
