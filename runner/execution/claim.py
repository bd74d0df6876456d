"""One runner per folder of runs: a second one is refused with a clear word instead of doubling the work."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error

LOCK = ".lock"
"""Name of the lock file in the folder of runs; the kernel drops the lock when its holder ends, however it ends."""

_PATIENCE = 1.0
_SWEEP_PATIENCE = 60.0
"""Seconds for which somebody is waited for who only clears away: he stops containers one after the other."""
_LOOK_AGAIN = 0.02
"""Seconds."""
_SWEEPS = "sweep"
"""Stands behind the process id of one who holds the folder to clear away, and carries out no run."""


@contextmanager
def claim(output: Path, *, sweeps: bool = False, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a folder of runs for this process.

    Args:
        output: the folder.
        sweeps: only to clear away what dead runners left; whoever wants to work there waits for that. Who sweeps waits
            for nobody: he may hold other folders, and two could wait for each other.
        on_wait: hears once for whom somebody waits who has to, in a sentence.

    Raises:
        StorageError: if another runner holds it, or it cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        handle = os.open(output / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(f"cannot write to {output}", error) from error
    try:
        if not _take(handle, _PATIENCE if sweeps else _SWEEP_PATIENCE, on_wait or _ignore):
            pid, clears = _written(handle)
            raise _at_work(output, pid, sweeps=clears)
        said = f"{os.getpid()} {_SWEEPS}" if sweeps else str(os.getpid())
        with suppress(OSError):
            # Always as long, hence written in place: on a full disk there is no room to truncate and write anew. A first
            # line may find none at all; then nobody is told which process it is.
            os.pwrite(handle, f"{said:<20}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _take(handle: int, for_a_sweep: float, on_wait: Callable[[str], None]) -> bool:
    """Take the lock; those who only look are waited for, and those who sweep for so many seconds."""
    begun = time.monotonic()
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Looked at every time: one that sweeps writes so only after it has the lock, and another may follow it.
            pid, clears = _written(handle)
            waited = time.monotonic() - begun
            if waited > (for_a_sweep if clears else _PATIENCE):
                return False
            if clears and waited > _PATIENCE and not told:
                told = True
                on_wait(f"waiting for process {pid}, which still clears away here, for {for_a_sweep:g} s at most")
            time.sleep(_LOOK_AGAIN)
        else:
            return True


def holder(output: Path) -> int | None:
    """Return the process that works in a folder of runs; 0 if it does not say which it is, None if there is none.

    One that only clears away there does not: what is asked of it would reach a runner that works elsewhere.

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
        pid, sweeps = _written(handle)
        return None if sweeps else pid
    finally:
        os.close(handle)
    return None


def require_free(output: Path) -> None:
    """Make sure that no runner is at work in a folder of runs.

    Raises:
        StorageError: if one is, or the lock cannot be looked at.
    """
    if (pid := holder(output)) is not None:
        raise _at_work(output, pid, sweeps=False)


def _ignore(_: str) -> None:
    """Tell nobody."""


def _written(handle: int) -> tuple[int, bool]:
    """Return the process id that a lock's holder has written, 0 for none, and whether it only clears away."""
    pid, _, what = os.pread(handle, 64, 0).decode("ascii", "replace").strip().partition(" ")
    return int(pid) if pid.isdecimal() else 0, what == _SWEEPS


def _at_work(output: Path, pid: int, *, sweeps: bool) -> StorageError:
    if sweeps:
        return StorageError(
            f"another runner (process {pid}) still clears away in {output}",
            why="it collects and removes what runners left there that have ended",
            hint="try again when it is through, or choose another folder with `--output`",
        )
    return StorageError(
        f"another `runner go` (process {pid or 'unknown'}) is at work in {output}",
        why="two at once would do the same runs twice",
        hint="watch it with `runner attach`, stop it with `runner cancel --all`, or choose another folder with `--output`",
    )
