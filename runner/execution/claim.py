"""One runner per folder of runs: a second one is refused with a clear word instead of doubling the work."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error

LOCK = ".lock"
"""Name of the lock file in the folder of runs; the kernel drops the lock when its holder ends, however it ends."""


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
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 64, 0).decode("ascii", "replace").strip() or "unknown"
            raise StorageError(
                f"another `runner go` (process {holder}) is at work in {output}",
                why="two at once would do the same runs twice",
                hint="wait for it, watch it with `runner runs`, or choose another folder with `--output`",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
