"""Tell without reading whether a file is still the one whose digest is known.

A file whose size, times and inode are those it was last seen with has the content it was read with, unless it was
written again so soon that the clock of the file system had not moved on: such a second write of the same length leaves
no trace at all. So a digest is believed later only if, when the file was read, its times were already further back than
that clock's step; of any other file the content is read again, until it has been read late enough. (Git calls such
entries of its index racily clean, and does the same.) Nobody can set a change time, so tools that put the modification
time back deceive nobody.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import zstandard

from runner.evidence.compress import DECOMPRESSION_ERRORS, compressor
from runner.evidence.walk import Entry, RawPath

FINE_STEP = 20_000_000
"""Nanoseconds by which a Linux clock of file times moves at most, with some room: it ticks 100 times a second or more."""
COARSE_STEP = 2_000_000_000
"""Nanoseconds of the coarsest file system that keeps whole seconds or pairs of them."""
_SECOND = 1_000_000_000


class Seen(NamedTuple):
    """What a file looked like when it was read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    safe: bool
    """Whether a later write must show in these."""


def look(entry: Entry, read_at_ns: int) -> Seen:
    """Return what to remember of a file.

    Args:
        entry: the file.
        read_at_ns: when the first byte of it was read, by the system's clock, nanoseconds since the epoch.
    """
    latest = max(entry.mtime_ns, entry.ctime_ns)
    whole = entry.ctime_ns % _SECOND == 0
    safe = latest + (COARSE_STEP if whole else FINE_STEP) < read_at_ns
    return Seen(entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode, safe)


def unchanged(seen: Seen | None, entry: Entry) -> bool:
    """Tell whether a file surely has the content it was last read with."""
    return seen is not None and seen.safe and seen[:4] == (entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode)


def save(path: Path, step: str, seen: Mapping[RawPath, Seen]) -> None:
    """Write down what was seen; it is only a help, so nothing is made durable and a failure is nobody's problem.

    Args:
        path: the file.
        step: digest of the index that it belongs to.
        seen: by path.
    """
    lines = [json.dumps({"index": step})]
    lines += [json.dumps([name.decode("utf-8", "surrogateescape"), *one]) for name, one in seen.items()]
    packed = compressor("zstd")
    path.write_bytes(packed.compress("\n".join(lines).encode("ascii")) + packed.flush())


def load(path: Path, step: str) -> dict[RawPath, Seen]:
    """Read what was seen; nothing if it is not there, damaged, or of another step: files are read again then."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())) as stream:
            head, *lines = (json.loads(line) for line in stream.read().split(b"\n"))
        if head["index"] != step:
            return {}
        return {name.encode("utf-8", "surrogateescape"): Seen(*rest) for name, *rest in lines}
    except (KeyError, TypeError, ValueError, *DECOMPRESSION_ERRORS):
        return {}
