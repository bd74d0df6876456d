"""Find space that no folder shows: of files that have no name any more, and that a process of the step holds open."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from runner.engine.cgroup import CGROUP_ROOT, processes

_BLOCK = 512
"""Bytes of a block as stat(2) counts them."""


def nameless_bytes(cgroup: str, devices: Collection[int], pace: Callable[[], bool]) -> int:
    """Return how many bytes on disk open files without a name take.

    Each is counted once, however many processes hold it. What may not be looked at, as the process has made itself
    unreadable or is somebody else's, does not count.

    Args:
        cgroup: parent cgroup of the step's container; empty if it has none, then nothing is found.
        devices: numbers of the file systems that count, as stat(2) has them.
        pace: called for each process; false ends the search.
    """
    found: dict[tuple[int, int], int] = {}
    for process in processes(CGROUP_ROOT, cgroup):
        for status in _open_files(process):
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 0 and status.st_dev in devices:
                found[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
        if not pace():
            break
    return sum(found.values())


def _open_files(process: int) -> Iterator[os.stat_result]:
    folder = Path("/proc") / str(process) / "fd"
    with contextlib.suppress(OSError), os.scandir(folder) as handles:
        for one in handles:
            with contextlib.suppress(OSError):
                # Followed by the kernel, to the open file itself; nothing is opened.
                yield one.stat()
