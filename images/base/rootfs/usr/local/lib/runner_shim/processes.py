"""Find and kill the processes of a step."""

# ruff: noqa: PTH115, PTH123, PTH208
# No pathlib: every step would pay for its import.

from __future__ import annotations

import os
import signal

INITS = {"docker-init", "tini", "catatonit", "podman-init", "dumb-init"}
FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO of the kernel's linux/proc_ns.h: the machine's own processes, never a container's."""


def alone() -> bool:
    """Tell whether every process but init and ourselves belongs to the step: only then may kill(-1) be used."""
    try:
        with open("/proc/1/comm", encoding="ascii", errors="replace") as file:
            init = file.read().strip()
        return os.getppid() == 1 and init in INITS and os.readlink("/proc/self/ns/pid") != FIRST_PID_NAMESPACE
    except OSError:
        return False


def kill_all(group: int, *, everything: bool) -> int:
    """Kill every process of the step; return how many there were (the main one not counted if it has ended)."""
    count = sum(1 for name in os.listdir("/proc") if name.isdigit() and lives(int(name), group, everything))
    try:
        if everything:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return 0
    return count


def lives(pid: int, group: int, everything: bool) -> bool:  # noqa: FBT001  read at one place
    """Tell whether a process belongs to the step and is more than an exit status nobody has fetched."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, _parent, its_group = file.read().rsplit(b")", 1)[1].split()[:3]
    except OSError:
        return False
    return state not in b"ZX" and (pid not in {1, os.getpid()} if everything else int(its_group) == group)
