"""Who made an engine object: a process of a user, told apart from every other by its start, boot and host."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.names import (
    LABEL_OWNER_BOOT,
    LABEL_OWNER_HOST,
    LABEL_OWNER_PID,
    LABEL_OWNER_STARTED,
    LABEL_OWNER_UID,
)

_PROC = Path("/proc")
_BOOT_ID = "sys/kernel/random/boot_id"
_START_TIME = 22
"""Field of `/proc/PID/stat` with the start time in clock ticks since boot, counted from 1 (proc(5))."""
_AFTER_NAME = 3
"""Number of the first field after the process name, which itself may hold blanks and brackets."""
_LARGEST_PID = 2**22
"""Upper bound of pid_max (proc(5))."""
_ENDED = {"Z", "X"}


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process that makes engine objects. A process id alone is not enough: ids are used again."""

    uid: int
    pid: int
    started: int
    """Clock ticks since boot."""
    boot: str
    host: str
    gid: int | None = field(default=None, compare=False)
    """Group of the process; None when read from labels, which do not carry it."""

    def labels(self) -> dict[str, str]:
        """Return the labels that every engine object of this owner carries."""
        return {
            LABEL_OWNER_UID: str(self.uid),
            LABEL_OWNER_PID: str(self.pid),
            LABEL_OWNER_STARTED: str(self.started),
            LABEL_OWNER_BOOT: self.boot,
            LABEL_OWNER_HOST: self.host,
        }


def current(proc: Path = _PROC) -> Owner:
    """Return this process as an owner."""
    found = _read_start(proc, os.getpid())
    return Owner(
        uid=os.getuid(),
        gid=os.getgid(),
        pid=os.getpid(),
        started=found if found is not None else 0,
        boot=_read_boot(proc),
        host=socket.gethostname(),
    )


def from_labels(labels: Mapping[str, str]) -> Owner | None:
    """Read an owner from an engine object's labels; None if they do not name one completely."""
    try:
        return Owner(
            uid=int(labels[LABEL_OWNER_UID]),
            pid=int(labels[LABEL_OWNER_PID]),
            started=int(labels[LABEL_OWNER_STARTED]),
            boot=labels[LABEL_OWNER_BOOT],
            host=labels[LABEL_OWNER_HOST],
        )
    except (KeyError, ValueError):
        return None


def is_alive(owner: Owner, *, host: str | None = None, proc: Path = _PROC) -> bool:
    """Say whether an owner still runs; one that cannot be judged from here counts as alive, so that nothing is lost.

    Args:
        owner: the process in question.
        host: name of this host; by default asked of the system.
        proc: where the process file system is.

    Returns:
        False only if the owner is of this host and either the machine has booted since, or no process has its id and
        start time, or that process has ended and only waits to be collected by its parent. Where users do not see each
        other's processes (hidepid in proc(5)) another user's counts as alive as long as there is one of its id.
    """
    if owner.host != (socket.gethostname() if host is None else host):
        return True
    if owner.boot != _read_boot(proc):
        return False
    try:
        return _read_start(proc, owner.pid) == owner.started
    except PermissionError:
        return True


def _read_boot(proc: Path) -> str:
    return (proc / _BOOT_ID).read_text("utf-8").strip()


def _read_start(proc: Path, pid: int) -> int | None:
    """Return a running process's start time, or None if there is none of this id.

    Raises:
        PermissionError: if it is another user's and not to be looked at.
    """
    try:
        text = (proc / str(pid) / "stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        if 0 < pid <= _LARGEST_PID:
            # Another user's may be hidden altogether; the kernel tells them from none even so.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 0)
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _ENDED else int(fields[_START_TIME - _AFTER_NAME])
