"""Files of JSON lines that only grow, whoever writes to them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


def append_line(path: Path, text: str, *, sync: bool) -> None:
    """Add a line in one write; a line before it that was cut short, by a full disk or a crash, is ended first.

    Args:
        path: the file; it and its folder are made if they are not there.
        text: the line, without its end.
        sync: whether it has to be on the disk when this returns.

    Raises:
        OSError: if the disk does not take it.
    """
    line = text.encode() + b"\n"
    fd = _open(path)
    try:
        # Another's line that is being written looks as if it had been cut short. Without locks there may be an empty line.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        written = os.write(fd, line)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
        if written != len(line):
            raise OSError(f"only {written} of {len(line)} bytes could be written to {path}")
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)
