"""Folders within each other, deeper than any path reaches."""

from __future__ import annotations

import os
from pathlib import Path


def deepen(
    root: Path, levels: int, name: bytes, *, last: tuple[bytes, bytes] | None = None, link_to: Path | None = None
) -> None:
    """Make folders of one name within each other, each with an empty file `f` and an empty folder `g` beside the next.

    Args:
        root: an empty folder, or one without these names.
        levels: how many.
        name: of each.
        last: names of a file and a folder in the deepest one.
        link_to: what a link in the deepest one points to.
    """
    handle = os.open(root, os.O_RDONLY)
    try:
        for _ in range(levels):
            _fill(handle, b"f", b"g")
            os.mkdir(name, dir_fd=handle)
            below = os.open(name, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        if last is not None:
            _fill(handle, *last)
        if link_to is not None:
            os.symlink(link_to, "link", dir_fd=handle)
    finally:
        os.close(handle)


def _fill(folder: int, file: bytes, inside: bytes) -> None:
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.mkdir(inside, dir_fd=folder)
