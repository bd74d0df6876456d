"""Copy a tree that an untrusted program left: exactly, quickly, and without following a link out of it.

Content, names, permissions, modification times, symbolic and hard links and holes are what they were; owners are of
whoever copies, extended attributes are left out. Where the file system can share the blocks of two files (FICLONE,
ioctl_ficlonerange(2): btrfs, XFS, bcachefs, overlays over them) a copy costs neither time nor room; else the kernel
copies (copy_file_range(2)).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.evidence.atomic import storage_error
from runner.evidence.emptying import empty
from runner.evidence.folders import FOLDER, Folders
from runner.evidence.tree import TreeScan, scan
from runner.evidence.walk import DIRECTORY, FIFO, FILE, LINK, Entry, RawPath, change_mode, opened, walk

_FICLONE = 0x40049409
"""Request number of `_IOW(0x94, 9, int)`, linux/fs.h; the same on every architecture but alpha, mips, powerpc and sparc,
where it is refused and the kernel copies."""
_PIECE = 1 << 30
"""Bytes that one system call is asked to copy."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_BLOCK = 512
"""Bytes of a block as st_blocks counts them, stat(2)."""
_NO_CLONE = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})
_NO_RANGE = frozenset({errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM})
_PRIVATE = 0o700
_NEEDED = {DIRECTORY: stat.S_IRWXU, FILE: stat.S_IRUSR}
"""Permissions of the owner without which a name cannot be copied."""


class Copier:
    """Copies single files, and remembers what the file systems cannot do.

    Args:
        clones: whether to try sharing blocks.
        ranges: whether to try the kernel's copy of a range.
    """

    def __init__(self, *, clones: bool = True, ranges: bool = True) -> None:
        self._clones = clones
        self._ranges = ranges

    def file(self, source: int, parent: int, name: bytes, entry: Entry) -> None:
        """Copy an open file under a new name.

        Args:
            source: handle of the file.
            parent: handle of the folder that gets it.
            name: in that folder; must not exist.
            entry: permissions and times it gets.

        Raises:
            OSError: if it cannot be copied.
        """
        target = os.open(name, _CREATE | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            status = os.fstat(source)
            if status.st_size and not self._clone(source, target):
                for start, end in _data(source, status):
                    self._range(source, target, start, end)
                os.ftruncate(target, status.st_size)
            os.fchmod(target, entry.mode)
            os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(target)

    def _clone(self, source: int, target: int) -> bool:
        if self._clones:
            try:
                fcntl.ioctl(target, _FICLONE, source)
            except OSError as error:
                if error.errno not in _NO_CLONE:
                    raise
                self._clones = False
        return self._clones

    def _range(self, source: int, target: int, start: int, end: int) -> None:
        """Copy the bytes from `start` to `end`, or to the end of a file that is shorter."""
        while start < end:
            copied = self._piece(source, target, start, min(end - start, _PIECE))
            if copied == 0:
                return
            start += copied

    def _piece(self, source: int, target: int, start: int, count: int) -> int:
        if self._ranges:
            try:
                return os.copy_file_range(source, target, count, start, start)
            except OSError as error:
                if error.errno not in _NO_RANGE:
                    raise
                self._ranges = False
        os.lseek(target, start, os.SEEK_SET)
        return os.sendfile(target, source, start, count)


def copy_tree(source: Path, target: Path) -> tuple[TreeScan, tuple[RawPath, ...]]:
    """Copy everything below a folder into a new one; nothing may write to it meanwhile.

    Args:
        source: the folder.
        target: must not exist.

    Returns:
        What is in `source`, and the paths of sockets and devices, which are not copied.

    Raises:
        StorageError: if something cannot be read or written.
    """
    found = scan(source)
    try:
        with unlocked(source, found) as entries, opened(source) as root:
            target.mkdir(_PRIVATE, parents=True)
            with opened(target) as copy, Folders(root) as old, Folders(copy) as new:
                left = _fill(old, new, entries)
            target.chmod(stat.S_IMODE(source.stat().st_mode))
    except OSError as error:
        raise storage_error(f"cannot copy {source} to {target}", error) from error
    return found, left


@contextlib.contextmanager
def unlocked(root: Path, found: TreeScan) -> Iterator[Mapping[RawPath, Entry]]:
    """Give the owner what it takes to read and change a tree, and put it back at the end; see `unlock`."""
    entries, locked = unlock(root, found)
    try:
        yield entries
    finally:
        lock(root, locked)


def unlock(root: Path, found: TreeScan) -> tuple[Mapping[RawPath, Entry], Mapping[RawPath, int]]:
    """Give the owner what it takes to read and change a tree.

    Args:
        root: the tree's folder.
        found: what is in it.

    Returns:
        Everything in it with the permissions that it had, what is below folders that could not be listed included; and
        the permissions of what got others.

    Raises:
        StorageError: if the folder itself cannot be read.
    """
    if not found.unreadable and not any(needs_unlocking(entry) for entry in found.entries.values()):
        return found.entries, {}
    locked: dict[RawPath, int] = {}
    entries: dict[RawPath, Entry] = {}
    with opened(root) as handle:
        for path, entry in walk(handle, lambda _: None):
            entries[path] = entry
            # The walk lists a folder only after this, so that what is below it is found as well.
            if needs_unlocking(entry) and change_mode(handle, path, entry.mode | _NEEDED[entry.kind]):
                locked[path] = entry.mode
    return entries, locked


def lock(root: Path, locked: Mapping[RawPath, int]) -> None:
    """Put back permissions that `unlock` changed, where the path is still there."""
    if locked:
        with opened(root) as handle:
            for path in sorted(locked, reverse=True):
                change_mode(handle, path, locked[path])


def needs_unlocking(entry: Entry) -> bool:
    """Tell whether the owner lacks permissions that it takes to read or change what is there."""
    needed = _NEEDED.get(entry.kind, 0)
    return entry.mode & needed != needed


def remove_tree(root: Path) -> None:
    """Remove a folder and everything in it, whatever its permissions; nothing happens if it does not exist.

    Raises:
        StorageError: if something cannot be removed.
    """
    if not os.path.lexists(root):
        return
    try:
        with opened(root.parent) as parent:
            remove_below(parent, os.fsencode(root.name))
    except OSError as error:
        raise storage_error(f"cannot remove {root}", error) from error


def remove_below(root: int, path: RawPath) -> None:
    """Remove a name below an open folder, with everything in it if it is a folder; a link is not followed.

    Raises:
        OSError: if something cannot be removed.
    """
    with Folders(root) as folders:
        parent, name = folders.at(path)
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=parent)
            return
        os.chmod(name, _PRIVATE, dir_fd=parent)
        handle = os.open(name, FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            empty(handle)
        finally:
            os.close(handle)
        os.rmdir(name, dir_fd=parent)


def _fill(old: Folders, new: Folders, entries: Mapping[RawPath, Entry]) -> tuple[RawPath, ...]:
    """Copy entries, folders first; return what is of a kind that is not copied."""
    folders = sorted(path for path, entry in entries.items() if entry.kind == DIRECTORY)
    for path in folders:
        parent, name = new.at(path)
        os.mkdir(name, _PRIVATE, dir_fd=parent)
    first: dict[int, RawPath] = {}
    left, copier = [], Copier()
    for path, entry in sorted(entries.items()):
        if entry.kind != DIRECTORY and not copy_entry(copier, (old, path), (new, path), entry, first):
            left.append(path)
    for path in reversed(folders):
        parent, name = new.at(path)
        os.chmod(name, entries[path].mode, dir_fd=parent)
        os.utime(name, ns=(entries[path].mtime_ns, entries[path].mtime_ns), dir_fd=parent)
    return tuple(left)


def copy_entry(
    copier: Copier,
    source: tuple[Folders, RawPath],
    target: tuple[Folders, RawPath],
    entry: Entry,
    first: dict[int, RawPath],
) -> bool:
    """Copy one name that is no folder into another tree, where it must not exist.

    Args:
        copier: copies content.
        source: tree and path to copy from.
        target: tree and path to copy to.
        entry: what is there.
        first: path in the target's tree of every file that was copied, by inode; a further name of one becomes a link.

    Returns:
        False for a socket or a device, of which nothing is copied.

    Raises:
        OSError: if it cannot be copied.
    """
    tree, path = target
    if entry.kind == FILE and (leader := first.setdefault(entry.inode, path)) != path:
        tree.link(leader, path)
        return True
    parent, name = tree.at(path)
    if entry.kind == FILE:
        folder, own = source[0].at(source[1])
        handle = os.open(own, _READ | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            copier.file(handle, parent, name, entry)
        finally:
            os.close(handle)
    elif entry.kind == LINK:
        os.symlink(entry.target, name, dir_fd=parent)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
    elif entry.kind == FIFO:
        os.mkfifo(name, entry.mode, dir_fd=parent)
        os.chmod(name, entry.mode, dir_fd=parent)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent)
    else:
        return False
    return True


def _data(source: int, status: os.stat_result) -> Iterator[tuple[int, int]]:
    """Yield where a file has data, from and to; a file without holes is one piece.

    A file that takes fewer blocks than its size needs has holes, or is compressed by its file system.
    """
    if status.st_blocks * _BLOCK >= status.st_size:
        yield 0, status.st_size
        return
    end = 0
    while end < status.st_size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        yield start, end
