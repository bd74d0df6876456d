"""Private folders of gateways: held by a lock while anyone uses them, removed when a crash left them behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from runner.gateway.pending import recover_folder

_LOCK = "lock"


def hold(folder: Path) -> int:
    """Lock a folder and return the descriptor that holds the lock; processes that inherit it hold it too.

    The lock is held before it has its name, so one that is there and free belonged to somebody who died.
    """
    unnamed = folder / f"{_LOCK}.new"
    fd = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    unnamed.rename(folder / _LOCK)
    return fd


def remove_leftovers(runtime: Path) -> list[Path]:
    """Remove our folders that nobody holds any more; return which.

    Calls that were under way when their gateway died together with its runner are given their lines first.
    """
    gone = []
    for folder in sorted(runtime.glob("cgr-*")):
        claim = _claim(folder)
        if claim is None:
            continue
        with contextlib.suppress(OSError):
            recover_folder(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(claim)
        gone.append(folder)
    return gone


def _claim(folder: Path) -> int | None:
    """Take the lock of a folder of ours that nobody holds; None if there is no such lock to be had."""
    try:
        status = folder.lstat()
        if status.st_uid != os.getuid() or folder.is_symlink():
            return None
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
