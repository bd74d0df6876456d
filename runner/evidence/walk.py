"""Walk a tree that an untrusted program left, by folder handles: no link is followed, nothing but folders is opened."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from runner.evidence.atomic import storage_error

RawPath = bytes
"""A path relative to a tree's root, as the file system holds it: any bytes but NUL."""

FILE, DIRECTORY, LINK = "file", "directory", "link"
FIFO, SOCKET, DEVICE = "fifo", "socket", "device"

_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: LINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFSOCK: SOCKET,
}
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LONGEST_PATH = 16 * 1024
"""Bytes of a path that is kept: every folder on the way to a name has its own path, so that memory and time grow with the
square of the depth, and a program can go as deep as it likes."""
TOO_DEEP = f"a folder in which paths get longer than {LONGEST_PATH} bytes"
"""What is said of a folder of which not everything is kept."""
_SHOWN = 200
"""Bytes of a path that a sentence has room for."""
_LONGEST_CALL = 4000
"""Bytes of a path that one system call takes (PATH_MAX is 4096); a deeper folder is reached in several hops."""


class Way(NamedTuple):
    """A folder to be looked into, by the way to it: of thousands within each other each takes no more room than its name."""

    above: Way | None
    name: bytes

    @property
    def path(self) -> RawPath:
        """Return its path relative to where the way begins."""
        names = [self.name]
        above = self.above
        while above is not None:
            names.append(above.name)
            above = above.above
        return b"/".join(reversed(names))


class Entry(NamedTuple):
    """One name in a tree, as lstat(2) sees it."""

    kind: str
    mode: int
    """Permission bits."""
    size: int
    """Apparent size in bytes."""
    mtime_ns: int
    ctime_ns: int
    inode: int
    target: bytes = b""
    """Where a link points."""


@contextlib.contextmanager
def opened(root: Path) -> Iterator[int]:
    """Hold a folder open, so that every look below it stays inside the same tree.

    Raises:
        StorageError: if it cannot be read.
    """
    try:
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise storage_error(f"cannot read {root}", error) from error
    try:
        yield handle
    finally:
        os.close(handle)


def walk(
    root: int, unreadable: Callable[[bytes], None], too_deep: Callable[[bytes], None] | None = None
) -> Iterator[tuple[bytes, Entry]]:
    """Yield every name below an open folder with its path relative to it, a folder before what is in it.

    Nothing is recursive. A name that vanishes meanwhile is left out, and so is one whose path is longer than LONGEST_PATH.

    Args:
        root: handle of the folder.
        unreadable: told of each folder that cannot be listed; the root's own path is empty.
        too_deep: told of each folder of which a name was left out for its path; None: `unreadable` is.
    """
    pending = [b""]
    while pending:
        folder = pending.pop()
        try:
            listed = _list(root, folder)
        except OSError as error:
            if not (folder and isinstance(error, FileNotFoundError)):
                unreadable(folder)
            continue
        prefix = folder + b"/" if folder else b""
        room = LONGEST_PATH - len(prefix)
        for name, entry in listed:
            if len(name) > room:
                continue
            path = prefix + name
            yield path, entry
            if entry.kind == DIRECTORY:
                pending.append(path)
        if any(len(name) > room for name, _ in listed):
            (too_deep or unreadable)(folder)


def entry_of(status: os.stat_result, target: bytes = b"") -> Entry:
    """Return an entry from what stat(2) says."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), DEVICE)
    mode = stat.S_IMODE(status.st_mode)
    return Entry(kind, mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, target)


def is_still(status: os.stat_result, entry: Entry) -> bool:
    """Tell whether stat(2) says of a file what an entry does: any change to it also changes the time of its last change."""
    return (
        status.st_ctime_ns == entry.ctime_ns
        and status.st_mtime_ns == entry.mtime_ns
        and status.st_size == entry.size
        and status.st_ino == entry.inode
    )


def open_below(root: int, path: bytes, flags: int) -> int:
    """Open a path relative to the open folder `root`, however long it is.

    Args:
        root: handle of the folder.
        path: relative path; empty for the folder itself.
        flags: flags for its last component, which is not followed if it is a link.

    Raises:
        OSError: if it cannot be opened.
    """
    if 0 < len(path) <= _LONGEST_CALL:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    *hops, last = _hops(path)
    current = root
    try:
        for hop in hops:
            following = os.open(hop, OPEN_FOLDER, dir_fd=current)
            if current != root:
                os.close(current)
            current = following
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
    finally:
        if current != root:
            os.close(current)


def change_mode(root: int, path: bytes, mode: int) -> bool:
    """Set the permission bits of a name below `root` that is no link; False if that is not ours to do."""
    folder, _, name = path.rpartition(b"/")
    try:
        handle = open_below(root, folder, OPEN_FOLDER)
        try:
            os.chmod(name, mode, dir_fd=handle)
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def show_path(path: bytes) -> str:
    """Return a path as text, with a visible escape for each byte that is not UTF-8."""
    return path.decode("utf-8", "backslashreplace")


def name_path(path: bytes) -> str:
    """Return a path as text for a sentence: of one that is very long, how it begins."""
    return show_path(path) if len(path) <= _SHOWN else f"{show_path(path[:_SHOWN])}... ({len(path)} bytes)"


def _list(root: int, folder: bytes) -> list[tuple[bytes, Entry]]:
    handle = open_below(root, folder, OPEN_FOLDER)
    try:
        with os.scandir(handle) as names:
            found = [(os.fsencode(one.name), _look(one, handle)) for one in names]
    finally:
        os.close(handle)
    return [(name, entry) for name, entry in found if entry is not None]


def _look(one: os.DirEntry[str], folder: int) -> Entry | None:
    """Return a name's entry; None if it vanished."""
    try:
        status = one.stat(follow_symlinks=False)
        target = os.fsencode(os.readlink(one.name, dir_fd=folder)) if stat.S_ISLNK(status.st_mode) else b""
    except FileNotFoundError:
        return None
    return entry_of(status, target)


def _hops(path: bytes) -> Iterator[bytes]:
    """Cut a path into pieces that one system call takes."""
    while len(path) > _LONGEST_CALL:
        cut = path.rindex(b"/", 0, _LONGEST_CALL)
        yield path[:cut]
        path = path[cut + 1 :]
    yield path or b"."
