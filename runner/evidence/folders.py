"""Reach the names of a tree through its folders, one of which is kept open: names of one folder follow each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Self

from runner.evidence.walk import RawPath, open_below

FOLDER = os.O_RDONLY | os.O_DIRECTORY
_CHUNK = 1024 * 1024


class Folders:
    """Folders below a handle.

    Args:
        root: handle of the tree's folder; stays open.
    """

    def __init__(self, root: int) -> None:
        self.root = root
        self._folder = b""
        self._handle: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    def at(self, path: RawPath) -> tuple[int, bytes]:
        """Return the handle of a path's folder, good until the next call, and the path's name in it.

        Raises:
            OSError: if the folder cannot be opened.
        """
        folder, _, name = path.rpartition(b"/")
        if self._handle is None or folder != self._folder:
            self.forget()
            self._handle, self._folder = open_below(self.root, folder, FOLDER), folder
        return self._handle, name

    def link(self, path: RawPath, other: RawPath) -> None:
        """Give a file a second name.

        Raises:
            OSError: if that cannot be done.
        """
        folder, _, name = path.rpartition(b"/")
        source = open_below(self.root, folder, FOLDER)
        try:
            parent, new = self.at(other)
            os.link(name, new, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def read(self, path: RawPath) -> Iterator[bytes]:
        """Yield the content of a file; what has become a pipe meanwhile blocks nobody, and has none.

        Raises:
            OSError: if it cannot be read.
        """
        with os.fdopen(open_below(self.root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def forget(self) -> None:
        """Close the folder that is open: after folders were renamed or removed."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
