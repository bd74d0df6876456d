"""Empty a folder that an untrusted program filled, however deep it went: by handles, up again and down, without paths."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from runner.evidence.folders import FOLDER
from runner.evidence.walk import change_mode

_PRIVATE = 0o700


class _Level(NamedTuple):
    """A folder on the way down to the one that is being emptied."""

    name: bytes
    """In the folder above."""
    identity: tuple[int, int]
    inside: list[bytes]
    """Folders in it that are still there."""


def empty(root: int) -> None:
    """Remove everything in an open folder, however deep: one folder is open at a time, and no path is put together.

    Raises:
        OSError: if something cannot be removed, or somebody moves folders meanwhile.
    """
    current = os.dup(root)
    try:
        way = [_Level(b"", _identity(current), _clear(current))]
        while True:
            if way[-1].inside:
                name = way[-1].inside.pop()
                below = _open_to_empty(current, name)
                if below is not None:
                    os.close(current)
                    current = below
                    way.append(_Level(name, _identity(current), _clear(current)))
                continue
            done = way.pop()
            if not way:
                return
            above = os.open(b"..", FOLDER | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current = above
            if _identity(current) != way[-1].identity:
                raise OSError(errno.ESTALE, "a folder was moved while it was being removed")
            os.rmdir(done.name, dir_fd=current)
    finally:
        os.close(current)


def _clear(folder: int) -> list[bytes]:
    """Remove everything in an open folder but the folders in it, and return their names."""
    with os.scandir(folder) as names:
        found = [(os.fsencode(one.name), one.is_dir(follow_symlinks=False)) for one in names]
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


def _open_to_empty(parent: int, name: bytes) -> int | None:
    """Open a folder whose content is to be removed; None if it is somebody else's and empty, and has been removed."""
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        change_mode(parent, name, _PRIVATE)
    try:
        return os.open(name, FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except PermissionError:
        os.rmdir(name, dir_fd=parent)
        return None


def _identity(folder: int) -> tuple[int, int]:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino
