"""Measure what folders take on the disk: blocks, not lengths, and each file once however many names it has."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from runner.evidence.atomic import storage_error
from runner.evidence.walk import Way, open_below

_BLOCK = 512
"""Unit of `st_blocks`, whatever the file system's own (stat(2))."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


class Meter:
    """Adds up room on the disk; a file that was met before, under any name in any folder, counts no more."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self.unreadable = 0
        """Folders that could not be listed: the sums are too small then."""

    def measure(self, path: Path) -> int:
        """Return the bytes that a file or a folder with everything in it takes; nothing if it does not exist.

        No link is followed.
        """
        return sum(self.parts(path).values())

    def parts(self, root: Path) -> dict[str, int]:
        """Return the bytes of each name in a folder, that of the folder itself, or of a file, under the empty name.

        Raises:
            StorageError: if it cannot be looked at.
        """
        try:
            status = root.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise storage_error(f"cannot look at {root}", error) from error
        parts = {"": self._count(status)}
        if stat.S_ISDIR(status.st_mode):
            for name, room in self._below(root):
                parts[name] = parts.get(name, 0) + room
        return parts

    def _below(self, root: Path) -> Iterator[tuple[str, int]]:
        """Yield the first component of every name below a folder, and the room that name takes; nothing is recursive."""
        try:
            handle = os.open(root, _FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self.unreadable += 1
            return
        pending: list[tuple[str, Way | None]] = [("", None)]
        try:
            while pending:
                top, folder = pending.pop()
                for name, status in self._listed(handle, folder.path if folder else b""):
                    first = top or os.fsdecode(name)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append((first, Way(folder, name)))
                    yield first, self._count(status)
        finally:
            os.close(handle)

    def _listed(self, root: int, folder: bytes) -> list[tuple[bytes, os.stat_result]]:
        try:
            handle = open_below(root, folder, _FOLDER)
        except OSError:
            self.unreadable += 1
            return []
        try:
            with os.scandir(handle) as names:
                return [(os.fsencode(one.name), status) for one in names if (status := _status(one)) is not None]
        finally:
            os.close(handle)

    def _count(self, status: os.stat_result) -> int:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            place = (status.st_dev, status.st_ino)
            if place in self._seen:
                return 0
            self._seen.add(place)
        return status.st_blocks * _BLOCK


def _status(one: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return one.stat(follow_symlinks=False)
    except OSError:
        return None
