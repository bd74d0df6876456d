"""Private folders of gateways: held by locks while anyone uses them, taken over or removed when a crash left them behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from runner.events import boottime
from runner.gateway.asking import request
from runner.gateway.pending import SUFFIX, Remembered, recover_folder, recover_session, remembered
from runner.gateway.session import GatewayError

_LOCK = "lock"
"""Held by the gateway, and by the runner that started it."""
_OWNER = "owner"
"""Held by the runner alone."""
_HOME = "home"
"""Tells the output folder whose runners may take the gateway over; not there if nobody may."""
_PREFIX = "cgr-"
_PATIENCE = 10.0
"""Seconds that a gateway whose runner is dead has to end; it gives calls under way one second."""
_OWNER_PATIENCE = 2.0
"""Seconds for whoever only looks whether the runner lives, or for one that is about to end, to let go of its lock."""
_LOOK_AGAIN = 0.02
_CLOSE_SECONDS = 10.0


def new_folder(runtime: Path, home: Path | None) -> tuple[Path, int, int]:
    """Make a folder for a gateway: return it, what holds its lock, and what tells that its runner lives."""
    with _entered(runtime, fcntl.LOCK_SH):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=runtime))
        held, owned = hold(folder), own(folder)
    if home is not None:
        (folder / _HOME).write_bytes(os.fsencode(home.resolve()))
    return folder, held, owned


def hold(folder: Path) -> int:
    """Lock a folder and return the descriptor that holds the lock; processes that inherit it hold it too."""
    return _hold(folder, _LOCK)


def own(folder: Path) -> int:
    """Return a descriptor that tells, as long as it is open, that the runner lives; no other process may inherit it."""
    return _hold(folder, _OWNER)


def hold_again(folder: Path) -> int | None:
    """Take the lock of a folder whose gateway has died, or is about to; None if the folder goes away instead."""
    return _await(folder, _LOCK, _PATIENCE)


def heirless(runtime: Path, home: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folders that dead runners of an output folder left, each with what tells that we are its runner now."""
    for folder in sorted(runtime.glob(f"{_PREFIX}*")):
        if _home(folder) == home.resolve() and (owned := _await(folder, _OWNER, _OWNER_PATIENCE)) is not None:
            yield folder, owned


def lasting(folder: Path) -> list[Remembered]:
    """Return the sessions of a dead gateway's folder that may be gone on with: those that have not expired."""
    now = boottime()
    return [one for one in remembered(folder) if one.spec.expires is not None and one.spec.expires > now]


def remove_leftovers(runtime: Path) -> list[Path]:
    """Remove our folders that nobody holds or can take over any more; return which.

    A gateway whose runner has died and that ends with it is waited for: until it ends it writes down calls, and the
    folder of a run that it writes to must not be another run's by then. One that goes on serving its runner's output
    folder, or that could be started again to do so, is left alone until its sessions have expired. Calls that were
    under way when a gateway died together with its runner are given their lines.
    """
    gone = []
    for folder in sorted(runtime.glob(f"{_PREFIX}*")):
        claim = _claim(folder, _LOCK)
        if claim is None and _home(folder) is None and _orphaned(folder):
            claim = _await(folder, _LOCK, _PATIENCE)
        if claim is None:
            with _never_begun(folder) as dead:
                if dead:
                    shutil.rmtree(folder, ignore_errors=True)
                    gone.append(folder)
            continue
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, claim)
            # The runner of a gateway that it took over holds this lock only from the gateway's death on.
            if _held(folder, _OWNER):
                continue
            with contextlib.suppress(OSError):
                recover_folder(folder)
            home = _home(folder)
            if home is not None and home.is_dir() and lasting(folder):
                continue
            remove_folder(folder)
            gone.append(folder)
    return gone


def abandoned(runtime: Path) -> list[Path]:
    """Return our folders that `remove_leftovers` would remove now without waiting for anybody; nothing is changed."""
    return [folder for folder in sorted(runtime.glob(f"{_PREFIX}*")) if _is_abandoned(folder)]


def _is_abandoned(folder: Path) -> bool:
    with _never_begun(folder) as dead:
        if dead:
            return True
    free = _ours(folder) and (folder / _LOCK).exists() and not _held(folder, _LOCK) and not _held(folder, _OWNER)
    home = _home(folder)
    return free and not (home is not None and home.is_dir() and lasting(folder))


def forget(runtime: Path, calls_file: Path) -> None:
    """Close the sessions that dead runners left open for a run: before its directory is set aside.

    Args:
        runtime: where gateways have their folders.
        calls_file: `llm/calls.jsonl` of the run; no line is added to it by those sessions afterwards.
    """
    for folder in sorted(runtime.glob(f"{_PREFIX}*")):
        if not _ours(folder) or _held(folder, _OWNER):
            continue
        for one in list(remembered(folder)):
            if one.spec.calls_file.resolve() == calls_file.resolve():
                _close(folder, one)


def remove_folder(folder: Path) -> None:
    """Remove a gateway's folder, its locks last: who is killed meanwhile leaves one that others see to be free."""
    for path in [*folder.glob("*"), folder / _OWNER, folder / _LOCK]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in {_OWNER, _LOCK}:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def forget_session(folder: Path, one: Remembered) -> None:
    """Give the calls of one session of a dead gateway their lines, and remove what there is of it."""
    with contextlib.suppress(OSError):
        recover_session(folder, one)
    shutil.rmtree(folder / f"{one.session.id}{SUFFIX}", ignore_errors=True)
    shutil.rmtree(one.session.directory, ignore_errors=True)


def _close(folder: Path, one: Remembered) -> None:
    """Close one session: by the gateway if it lives; one that has just died keeps its lock for a moment yet."""
    try:
        # A gateway that has closed it by itself refuses: it has written all its lines.
        with contextlib.suppress(GatewayError):
            request(folder, "DELETE", f"/sessions/{one.session.id}?drain=0", b"", _CLOSE_SECONDS)
    except OSError:
        claim = _await(folder, _LOCK, _PATIENCE)
        if claim is not None:
            forget_session(folder, one)
            os.close(claim)


def _hold(folder: Path, name: str) -> int:
    """Make a lock that is held before it has its name, so that one that is there and free was somebody's who died."""
    unnamed = folder / f"{name}.new"
    fd = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    unnamed.rename(folder / name)
    return fd


def _home(folder: Path) -> Path | None:
    try:
        return Path(os.fsdecode((folder / _HOME).read_bytes())) if _ours(folder) else None
    except OSError:
        return None


def _ours(folder: Path) -> bool:
    try:
        return folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
    except OSError:
        return False


@contextlib.contextmanager
def _never_begun(folder: Path) -> Iterator[bool]:
    """Tell whether a folder is one whose runner died before it had locked it; nobody makes one while the block lasts."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_entered(folder.parent, fcntl.LOCK_EX | fcntl.LOCK_NB))
            alone = True
        except BlockingIOError:
            alone = False
        yield alone and _ours(folder) and not (folder / _LOCK).exists()


@contextlib.contextmanager
def _entered(runtime: Path, how: int) -> Iterator[None]:
    """Hold a lock on the folder of all folders: shared by those who make one, alone for who looks for unfinished ones."""
    fd = os.open(runtime, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


def _orphaned(folder: Path) -> bool:
    """Tell whether the runner that a folder was made for is dead."""
    return (folder / _OWNER).exists() and not _held(folder, _OWNER)


def _held(folder: Path, name: str) -> bool:
    """Tell whether somebody holds a lock; several who ask at once do not take each other for the holder."""
    fd = _claim(folder, name, fcntl.LOCK_SH)
    if fd is not None:
        os.close(fd)
    return fd is None and (folder / name).exists()


def _await(folder: Path, name: str, seconds: float) -> int | None:
    """Take a lock as soon as its holder lets go; None if it does not in good time, or the folder goes away."""
    end = time.monotonic() + seconds
    while folder.is_dir():
        if (claim := _claim(folder, name)) is not None:
            return claim
        if time.monotonic() >= end:
            break
        time.sleep(_LOOK_AGAIN)
    return None


def _claim(folder: Path, name: str, how: int = fcntl.LOCK_EX) -> int | None:
    """Take a lock in a folder of ours that nobody holds; None if there is no such lock to be had."""
    if not _ours(folder):
        return None
    try:
        fd = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
