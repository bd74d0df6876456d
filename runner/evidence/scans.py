"""Write down what a scan saw of a tree, so that another process can say later what has changed since."""

from __future__ import annotations

from collections.abc import Iterable

from runner.evidence.tree import TreeScan
from runner.evidence.walk import FILE, Entry

Row = tuple[str, str, int, int, int, int, int, str]
"""Path in hexadecimal, kind, permissions, size, times of content and of inode in nanoseconds, inode, target."""


def pack_scan(scan: TreeScan) -> list[Row]:
    """Return a complete scan as rows that JSON can hold; names may be any bytes, so they are in hexadecimal."""
    return [
        (path.hex(), one.kind, one.mode, one.size, one.mtime_ns, one.ctime_ns, one.inode, one.target.hex())
        for path, one in scan.entries.items()
    ]


def unpack_scan(rows: Iterable[Row]) -> TreeScan:
    """Return the scan that rows were made of.

    Raises:
        ValueError: if they were not made by `pack_scan`.
    """
    entries = {
        bytes.fromhex(path): Entry(kind, mode, size, mtime, ctime, inode, bytes.fromhex(target))
        for path, kind, mode, size, mtime, ctime, inode, target in rows
    }
    sizes = [entry.size for entry in entries.values() if entry.kind == FILE]
    return TreeScan(entries=entries, files=len(sizes), bytes=sum(sizes))
