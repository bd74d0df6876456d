"""Weigh folders that an untrusted program may be writing to, as far as a bound."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.evidence.walk import OPEN_FOLDER, Way, open_below, opened

_BLOCK = 512
"""Bytes of a block as stat(2) counts them, whatever the file system's are."""
_EVERY = 256
"""Names between two calls of the pace."""


@dataclass(frozen=True, kw_only=True)
class Weight:
    """How much is in some folders."""

    bytes: int = 0
    """Of regular files: what each takes on disk, or its apparent size if that is more, as whoever reads it reads that."""
    names: int = 0
    """Files, folders, links and everything else; a hard-linked file counts once per name, in the bytes too."""


def weigh(roots: Sequence[Path], pace: Callable[[], bool], most_bytes: int, most_names: int) -> Weight:
    """Return how much is in some folders; once it is more than a bound, how much was found by then.

    No link is followed and nothing but folders is opened. What vanishes meanwhile, or a folder that cannot be listed, does
    not count.

    Args:
        roots: the folders.
        pace: called every few names; false ends the weighing.
        most_bytes: bytes above which it ends.
        most_names: names above which it ends.

    Raises:
        StorageError: if one of the folders themselves cannot be opened.
    """
    total = names = 0
    for root in roots:
        with opened(root) as handle, contextlib.closing(_sizes(handle)) as sizes:
            for size in sizes:
                total, names = total + size, names + 1
                if total > most_bytes or names > most_names or (names % _EVERY == 0 and not pace()):
                    return Weight(bytes=total, names=names)
    return Weight(bytes=total, names=names)


def _sizes(root: int) -> Generator[int, None, None]:
    """Yield for each name below an open folder how many bytes it counts for."""
    pending: list[Way | None] = [None]
    while pending:
        folder = pending.pop()
        # A folder that vanished, or that its owner has locked, has nothing that could be seen.
        with contextlib.suppress(OSError), _listed(root, folder.path if folder else b"") as names:
            for one in names:
                with contextlib.suppress(FileNotFoundError):
                    status = one.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(Way(folder, os.fsencode(one.name)))
                    yield max(status.st_size, status.st_blocks * _BLOCK) if stat.S_ISREG(status.st_mode) else 0


@contextlib.contextmanager
def _listed(root: int, folder: bytes) -> Iterator[Iterator[os.DirEntry[str]]]:
    handle = open_below(root, folder, OPEN_FOLDER)
    try:
        with os.scandir(handle) as names:
            yield names
    finally:
        os.close(handle)
