"""Private folders of gateways: held by a lock while anyone uses them, removed when a crash left them behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

from runner.gateway.pending import recover_folder

_LOCK = "lock"
"""Held by the runner and by its gateway."""
_OWNER = "owner"
"""Held by the runner alone."""
_PATIENCE = 10.0
"""Seconds that a gateway whose runner is dead has to end; it gives calls under way one second."""
_LOOK_AGAIN = 0.02


def hold(folder: Path) -> int:
    """Lock a folder and return the descriptor that holds the lock; processes that inherit it hold it too."""
    return _hold(folder, _LOCK)


def own(folder: Path) -> int:
    """Return a descriptor that tells, as long as it is open, that the runner lives; no other process may inherit it."""
    return _hold(folder, _OWNER)


def remove_leftovers(runtime: Path) -> list[Path]:
    """Remove our folders that nobody holds any more; return which.

    A gateway whose runner has died is waited for: until it ends it writes down calls, and the folder of a run that it
    writes to must not be another run's by then. Calls that were under way when their gateway died together with its
    runner are given their lines.
    """
    gone = []
    for folder in sorted(runtime.glob("cgr-*")):
        claim = _claim(folder, _LOCK)
        if claim is None and _orphaned(folder):
            claim = _await(folder)
        if claim is None:
            continue
        with contextlib.suppress(OSError):
            recover_folder(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(claim)
        gone.append(folder)
    return gone


def _hold(folder: Path, name: str) -> int:
    """Make a lock that is held before it has its name, so that one that is there and free was somebody's who died."""
    unnamed = folder / f"{name}.new"
    fd = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    unnamed.rename(folder / name)
    return fd


def _orphaned(folder: Path) -> bool:
    """Tell whether the runner that a folder was made for is dead."""
    fd = _claim(folder, _OWNER, fcntl.LOCK_SH)  # several who ask at once do not take each other for the runner
    if fd is None:
        return False
    os.close(fd)
    return True


def _await(folder: Path) -> int | None:
    """Take the lock of a folder as soon as the gateway has ended that holds it; None if it does not in good time."""
    end = time.monotonic() + _PATIENCE
    while folder.is_dir() and time.monotonic() < end:
        if (claim := _claim(folder, _LOCK)) is not None:
            return claim
        time.sleep(_LOOK_AGAIN)
    return None


def _claim(folder: Path, name: str, how: int = fcntl.LOCK_EX) -> int | None:
    """Take a lock in a folder of ours that nobody holds; None if there is no such lock to be had."""
    try:
        status = folder.lstat()
        if status.st_uid != os.getuid() or folder.is_symlink():
            return None
        fd = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
