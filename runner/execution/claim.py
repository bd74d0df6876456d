"""One runner per folder of runs: a second one is refused with a clear word instead of doubling the work."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error

LOCK = ".lock"
"""Name of the lock file in the folder of runs; the kernel drops the lock when its holder ends, however it ends."""

_PATIENCE = 1.0
_LOOK_AGAIN = 0.02
"""Seconds."""


@contextmanager
def claim(output: Path) -> Iterator[None]:
    """Hold a folder of runs for this process.

    Raises:
        StorageError: if another runner holds it, or it cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        handle = os.open(output / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(f"cannot write to {output}", error) from error
    try:
        if not _take(handle):
            raise _at_work(output, _written(handle))
        with suppress(OSError):
            # Always as long, hence written in place: on a full disk there is no room to truncate and write anew. A first
            # line may find none at all; then nobody is told which process it is.
            os.pwrite(handle, f"{os.getpid():<20}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    """Take the lock; those who only look, or sweep for a moment, are waited for."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_AGAIN)
        else:
            return True


def holder(output: Path) -> int | None:
    """Return the process that holds a folder of runs; 0 if it does not say which it is, None if there is none.

    Raises:
        StorageError: if the lock cannot be looked at.
    """
    try:
        handle = os.open(output / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(f"cannot read {output / LOCK}", error) from error
    try:
        # Shared, so that several who ask at once do not take each other for the holder.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written(handle)
    finally:
        os.close(handle)
    return None


def require_free(output: Path) -> None:
    """Make sure that no runner is at work in a folder of runs.

    Raises:
        StorageError: if one is, or the lock cannot be looked at.
    """
    if (pid := holder(output)) is not None:
        raise _at_work(output, pid)


def _written(handle: int) -> int:
    text = os.pread(handle, 64, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() else 0


def _at_work(output: Path, pid: int) -> StorageError:
    return StorageError(
        f"another `runner go` (process {pid or 'unknown'}) is at work in {output}",
        why="two at once would do the same runs twice",
        hint="watch it with `runner attach`, stop it with `runner cancel --all`, or choose another folder with `--output`",
    )
