"""Locks of the image stages: one per image for all users of a machine, one per cache against its being emptied.

All are flocks, so that the kernel drops them when their holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.engine.shared import open_shared, shared_folder
from runner.errors import StorageError

_PROC_LOCKS = Path("/proc/locks")
_HELD = re.compile(r"^\d+: FLOCK +ADVISORY +WRITE (\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ", re.MULTILINE)
"""A lock that is held, as proc_locks(5) shows it; lines of those who wait have an arrow before the kind."""


@contextlib.contextmanager
def building(tag: str, waiting: Callable[[str], None], folder: Path | None = None) -> Iterator[None]:
    """Hold the right to build an image on this machine; others, of any user, wait.

    Args:
        tag: the image's tag.
        waiting: told once, with the process id of the holder or `unknown`, if somebody else holds it.
        folder: where lock files are; by default where all users see them.

    Raises:
        StorageError: if the lock file cannot be used.
    """
    path = (folder or shared_folder()) / f"{re.sub('[^A-Za-z0-9._-]', '-', tag)}.lock"
    try:
        handle = _hold(path, waiting)
    except OSError as error:
        raise StorageError(
            f"the lock file {path} cannot be used", why=error.strerror or "", hint=f"ls -l {path}"
        ) from error
    try:
        yield
    finally:
        # Removed while it is held: who waits for it sees that it is gone and makes a new one. Another user's stays.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)


def _hold(path: Path, waiting: Callable[[str], None]) -> int:
    told = False
    while True:
        with contextlib.ExitStack() as stack:
            handle = open_shared(path)
            stack.callback(os.close, handle)
            if not _take(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if not told:
                    waiting(_holder(handle))
                told = True
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _leads_to(path, handle):
                stack.pop_all()
                return handle


def _take(handle: int, operation: int) -> bool:
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        return False
    return True


def _leads_to(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _holder(handle: int) -> str:
    """Return the process id of who holds a file's lock, as far as the kernel tells."""
    status = os.fstat(handle)
    wanted = (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    with contextlib.suppress(OSError):
        for pid, major, minor, inode in _HELD.findall(_PROC_LOCKS.read_text("ascii", "replace")):
            if (int(major, 16), int(minor, 16), int(inode)) == wanted:
                return str(pid)
    return "unknown"


@contextlib.contextmanager
def using(cache: Path) -> Iterator[None]:
    """Keep a cache from being emptied while something is put into it or taken out; any number may at once.

    Raises:
        StorageError: if the cache cannot be written.
    """
    handle = _open_cache(cache)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone(cache: Path) -> Iterator[bool]:
    """Tell whether nobody uses a cache, and if so keep it that way; never waits.

    Raises:
        StorageError: if the cache cannot be written.
    """
    handle = _open_cache(cache)
    try:
        yield _take(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)


def _open_cache(cache: Path) -> int:
    path = cache / "locks" / "cache.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"the cache folder {cache} cannot be written", why=str(error), hint="Set XDG_CACHE_HOME to another place."
        ) from error
