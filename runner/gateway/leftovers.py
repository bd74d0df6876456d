"""Private folders of gateways: held by a lock while anyone uses them, removed when a crash left them behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

_LOCK = "lock"
_YOUNG_SECONDS = 60.0
"""A folder younger than this may not have its lock yet."""


def hold(folder: Path) -> int:
    """Lock a folder and return the descriptor that holds the lock; processes that inherit it hold it too."""
    fd = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def remove_leftovers(runtime: Path) -> list[Path]:
    """Remove our folders that nobody holds any more; return which."""
    gone = [folder for folder in runtime.glob("cgr-*") if _is_left_over(folder)]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return gone


def _is_left_over(folder: Path) -> bool:
    try:
        status = folder.lstat()
        if status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG_SECONDS or folder.is_symlink():
            return False
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
