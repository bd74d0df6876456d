"""Folders of single commands: each is held by a lock for as long as its process lives."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.evidence.copying import remove_below

_PREFIX = "runner-command-"
_NAME = re.compile(rf"{_PREFIX}[a-z0-9_]{{8}}")
"""What `tempfile.mkdtemp` makes of the prefix."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def command_folder() -> Iterator[Path]:
    """Lend a new folder among the temporary ones, held inside the block and removed at its end.

    Raises:
        OSError: if it cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        handle = os.open(name, _FOLDER)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(handle)


def remove_folder(folder: Path, uid: int) -> None:
    """Remove the folder of a command whose process was killed.

    Where it is says a label, and an engine's labels can be anybody's: nothing is removed but a folder of such a name
    that is this user's and that no process holds. What cannot be removed stays, as among temporary files it may.

    Args:
        folder: said to be one.
        uid: the asking user.
    """
    if not folder.is_absolute() or not _NAME.fullmatch(folder.name):
        return
    with suppress(OSError, ValueError):
        # A name with a NUL is none.
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(OSError):
            _remove(parent, folder.name, uid)
        os.close(parent)


def _remove(parent: int, name: str, uid: int) -> None:
    handle = os.open(name, _FOLDER, dir_fd=parent)
    try:
        if os.fstat(handle).st_uid == uid:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_below(parent, os.fsencode(name))
    finally:
        os.close(handle)
