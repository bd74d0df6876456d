"""Files that all users of a machine share, in a folder where everybody may make files and nobody remove another's."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from runner.errors import StorageError

_SHARED = (Path("/run/lock"), Path("/tmp"))  # noqa: S108  a place that is the same for all users, whatever their TMPDIR
_STICKY = 0o1777
_UNFINISHED = 60.0
"""Seconds after which a file that has not got its name will not get it: that is a matter of milliseconds."""


def shared_folder(candidates: Sequence[Path] = _SHARED) -> Path:
    """Return the first folder in which every user may make files and nobody may remove another's.

    Raises:
        StorageError: if there is none.
    """
    for folder in candidates:
        with contextlib.suppress(OSError):
            if _is_open_to_all(folder.stat()) and os.access(folder, os.W_OK):
                return folder
    raise StorageError(
        f"no folder for lock files: {', '.join(map(str, candidates))}",
        why="Runners take turns by files that all users of the machine see.",
        hint=f"chmod 1777 {candidates[-1]}",
    )


def shared_subfolder(name: str, parent: Path) -> Path:
    """Return a folder of that kind inside another one, made if it is not there.

    Raises:
        StorageError: if something else is there, or it cannot be made.
    """
    folder = parent / name
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(_STICKY)
        usable = _is_open_to_all(folder.lstat())
    except OSError as error:
        raise StorageError(f"{folder} cannot be made", why=error.strerror or "", hint=f"ls -ld {parent}") from error
    if not usable:
        raise StorageError(
            f"{folder} cannot be shared",
            why="every user has to be able to make files in it, and none to remove another's",
            hint=f"chmod 1777 {folder}, or remove it if it is nobody's",
        )
    return folder


def open_shared(path: Path) -> int:
    """Open a shared file for reading, which is enough for a flock and harms nothing, whoever made the file.

    Raises:
        OSError: if it cannot be opened or made, or is no regular file.
    """
    while True:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            _create(path)
            continue
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        raise OSError(0, "It is no regular file.")


def unfinished(path: Path) -> str:
    """Return the pattern of the names that a shared file has until it has its own."""
    return f".{glob.escape(path.name)}-*"


def remove_unfinished(folder: Path, pattern: str) -> None:
    """Remove what is left of files whose makers were killed before they could name them; other users' stay.

    By age, without a lock: nobody who lives needs one of them for so long.

    Args:
        folder: a shared folder.
        pattern: of their names.
    """
    with contextlib.suppress(OSError):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if status.st_uid == os.getuid() and time.time() - status.st_mtime > _UNFINISHED:
                    path.unlink()


def _is_open_to_all(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and status.st_mode & _STICKY == _STICKY


def _create(path: Path) -> None:
    """Make a file that appears with its final mode.

    Not with O_CREAT on its name: in a sticky folder the kernel refuses that for a file of another user
    (fs.protected_regular), and the umask would keep others out for a moment.
    """
    remove_unfinished(path.parent, unfinished(path))
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        os.fchmod(handle, 0o644)
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.close(handle)
        Path(name).unlink()
