"""Read files of a tree that may still be changing: what comes out is what was looked at, or an error."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator

from runner.evidence.pack import CHUNK, Packer, ReadError
from runner.evidence.tarformat import padding
from runner.evidence.walk import Entry, RawPath, is_still, open_below

_BECAME_ANOTHER = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR})
"""Errors of opening what was a file a moment ago and is gone, or a link, or below what is no folder any more."""


class Changed(Exception):
    """A file is not, or is no longer, what it was when it was looked at."""

    def __init__(self, path: RawPath) -> None:
        super().__init__(path)
        self.path = path


def read_file(root: int, path: RawPath, entry: Entry) -> Iterator[bytes]:
    """Yield a file's content, exactly as long as `entry` says.

    Args:
        root: handle of the tree's folder.
        path: of the file in it.
        entry: what the file looked like.

    Raises:
        OSError: if it cannot be read.
        Changed: if it is not, or is no longer, the file that `entry` describes.
    """
    handle = open_file(root, path)
    try:
        left = entry.size
        while left and (chunk := os.read(handle, min(left, CHUNK))):
            left -= len(chunk)
            yield chunk
        check_file(handle, path, entry, left)
    finally:
        os.close(handle)


def pack_file(packer: Packer, head: bytes, root: int, path: RawPath, entry: Entry) -> str:
    """Give a file to a tar as a member, exactly as long as `entry` says; return the sha256 of its content.

    Args:
        packer: takes the tar.
        head: the member's header.
        root: handle of the tree's folder.
        path: of the file in it.
        entry: what the file looked like.

    Raises:
        ReadError: if it cannot be opened or read; no other OSError is the file's.
        Changed: if it is not, or is no longer, the file that `entry` describes.
    """
    digest = hashlib.sha256()
    try:
        handle = open_file(root, path)
    except OSError as error:
        raise ReadError(error, begun=False) from error
    try:
        left = packer.read(head, handle, entry.size, digest)
        check_file(handle, path, entry, left)
    finally:
        os.close(handle)
    packer.write(padding(entry.size))
    return digest.hexdigest()


def open_file(root: int, path: RawPath) -> int:
    """Open what was a file when it was looked at.

    Raises:
        OSError: if it cannot be opened.
        Changed: if it is no file any more.
    """
    try:
        return open_below(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno in _BECAME_ANOTHER:
            raise Changed(path) from None
        raise


def check_file(handle: int, path: RawPath, entry: Entry, left: int) -> None:
    """Check that an open file of which everything has been read, but `left` bytes, is the one that was looked at.

    Raises:
        Changed: if it is not, or is no longer.
    """
    if left or not is_still(os.fstat(handle), entry):
        raise Changed(path)
