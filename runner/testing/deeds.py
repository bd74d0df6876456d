"""What containers do in the conformance suite: as a command for a real image, and as a program for the fake engine."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass

from runner.testing.box import Box, Program

MIB = 1024**2
LONG_LINE = 5_000_000
"""Bytes of one line without an end."""
FOREVER = 600.0
_FORK = """
import os, time
count = 0
try:
    while count < 2000:
        if os.fork() == 0:
            time.sleep(600)
        count += 1
except BlockingIOError:
    pass
print(count)
"""
_BURN = """
import time
held = b"x" * (200 * 1024 * 1024)
while time.process_time() < 1.2:
    pass
"""


@dataclass(frozen=True)
class Deed:
    """One behaviour, twice."""

    argv: tuple[str, ...]
    program: Program


def _shell(script: str, program: Program) -> Deed:
    return Deed(("sh", "-c", script), program)


def _speak(box: Box) -> int:
    box.write(b"to out\n")
    box.write(b"to err\n", "stderr")
    return 0


def _raw_bytes(box: Box) -> int:
    box.write(b"\xff\xfea\x80\nend")
    return 0


def _long_line(box: Box) -> int:
    box.write(b"x" * LONG_LINE)
    return 0


def _eat(box: Box) -> int:
    box.allocate(1024 * MIB)
    return 0


def _fork(box: Box) -> int:
    count = 0
    try:
        while count < 2000:  # noqa: PLR2004  as many as the real command tries
            box.spawn(count + 1)
            count += 1
    except BlockingIOError:
        box.write(b"%d\n" % count)
    return 0


def _stubborn(box: Box) -> int:
    box.ignore_sigterm = True
    box.write(b"ready\n")
    box.sleep(FOREVER)
    return 0


def _sleep(box: Box) -> int:
    box.write(b"ready\n")
    box.sleep(FOREVER)
    return 0


def _write_root(box: Box) -> int:
    try:
        box.path("/etc/written", write=True)
    except OSError as error:
        return 30 if error.errno == errno.EROFS else 1
    return 0


def _interfaces(box: Box) -> int:
    box.write("".join(f"{name}\n" for name in box.interfaces()).encode())
    return 0


def _identity(box: Box) -> int:
    box.write(box.spec.user.encode() + b"\n")
    return 0


def _copy(box: Box) -> int:
    data = box.path("/in/given").read_bytes()
    box.path("/work/taken", write=True).write_bytes(data)
    try:
        box.path("/in/more", write=True)
    except OSError:
        return 0
    return 1


def _environment(box: Box) -> int:
    box.write("".join(f"{name}={value}\n" for name, value in sorted(box.spec.env.items())).encode())
    return 0


def _burn(box: Box) -> int:
    box.allocate(200 * MIB)
    box.burn(1.2)
    return 0


def _signal_exit(number: int) -> Program:
    return lambda _: 128 + number


DEEDS: Mapping[str, Deed] = {
    "nothing": _shell("exit 0", lambda _: 0),
    "exit": _shell("exit 3", lambda _: 3),
    "speak": _shell("echo to out; echo to err >&2", _speak),
    "bytes": _shell(r"printf '\377\376a\200\nend'", _raw_bytes),
    "long line": _shell(f"head -c {LONG_LINE} /dev/zero | tr '\\0' x", _long_line),
    "eat": Deed(("python3", "-c", "held = b'x' * (1024 * 1024 * 1024)"), _eat),
    "fork": Deed(("python3", "-c", _FORK), _fork),
    "stubborn": _shell("trap '' TERM; echo ready; while :; do sleep 0.1; done", _stubborn),
    "sleep": _shell("echo ready; exec sleep 600", _sleep),
    "killed": _shell("kill -KILL $$", _signal_exit(9)),
    "crashed": _shell("kill -SEGV $$", _signal_exit(11)),
    "write root": _shell("touch /etc/written && exit 0; exit 30", _write_root),
    "interfaces": _shell("ls /sys/class/net", _interfaces),
    "identity": _shell('echo "$(id -u):$(id -g)"', _identity),
    "copy": _shell("cat /in/given >/work/taken || exit 2; ! touch /in/more", _copy),
    "environment": _shell("env | grep ^RUNNER_ | sort", _environment),
    "burn": Deed(("python3", "-c", _BURN), _burn),
}
"""Behaviours by name; the numbers in a program are those its command would show."""
