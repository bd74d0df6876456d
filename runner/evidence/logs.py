"""Keep what a step printed, byte for byte up to a bound, and show it without letting it talk to the terminal."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runner.errors import RunnerError
from runner.evidence.atomic import replacing_all, storage_error
from runner.evidence.layout import StepLayout

STREAMS = ("stdout", "stderr")
_MARGIN = 1.25
"""The shim already holds a step to its limit and marks what it drops; this much more lets its own marks through."""
_TAIL_BLOCK = 64 * 1024
_TAIL_MOST = 1024 * 1024
"""Bytes read from the end of a log at most, however long its lines are."""
_TAIL_LINE = 4096
"""Characters of a line that are returned; the end of a line says more than its beginning."""
_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
"""Control characters of both sets except the tab, invisible and direction-changing ones, lone surrogates."""


@dataclass(frozen=True, kw_only=True)
class LogSizes:
    """Bytes a step printed per stream, the dropped ones included, and how many of them were dropped."""

    stdout: int
    stderr: int
    dropped_stdout: int
    dropped_stderr: int

    @property
    def dropped(self) -> int:
        return self.dropped_stdout + self.dropped_stderr


@dataclass
class _Stream:
    """One stream on its way to disk."""

    file: BinaryIO
    most: int
    seen: int = 0

    def write(self, chunk: bytes) -> None:
        room = max(self.most - self.seen, 0)
        self.seen += len(chunk)
        self.file.write(chunk[:room])

    @property
    def dropped(self) -> int:
        return max(self.seen - self.most, 0)

    def mark(self) -> None:
        if self.dropped:
            self.file.write(f"\n[{self.dropped} more bytes were printed and not kept]\n".encode())


def collect_logs(chunks: Iterator[tuple[str, bytes]], layout: StepLayout, limit: int) -> LogSizes:
    """Write a step's output to its logs, exactly, up to a bound per stream.

    If `chunks` raises a RunnerError, what arrived before is kept and the error goes on.

    Args:
        chunks: `(stream, bytes)` pairs, stream being `stdout` or `stderr`.
        layout: the step's folder.
        limit: bytes per stream (limits.log); a quarter more is kept, the rest is dropped, counted and marked.

    Raises:
        StorageError: if the logs cannot be written.
    """
    with replacing_all([layout.log(name) for name in STREAMS]) as files:
        streams = {name: _Stream(file, int(limit * _MARGIN)) for name, file in zip(STREAMS, files, strict=True)}
        trouble: RunnerError | None = None
        try:
            for name, chunk in chunks:
                streams[name].write(chunk)
        except RunnerError as error:
            trouble = error
        for stream in streams.values():
            stream.mark()
    if trouble is not None:
        raise trouble
    out, err = streams["stdout"], streams["stderr"]
    return LogSizes(stdout=out.seen, stderr=err.seen, dropped_stdout=out.dropped, dropped_stderr=err.dropped)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, from at most 1 MiB of it, whatever it holds.

    Bytes that are not UTF-8 become replacement characters and a line of more than 4096 characters loses its beginning.
    The text is not safe for a terminal: see `escape`.

    Args:
        path: the log; a missing one has no lines.
        lines: how many at most.

    Raises:
        StorageError: if it exists and cannot be read.
    """
    if lines <= 0:
        return []
    try:
        with path.open("rb") as stream:
            data = _read_end(stream, lines)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(f"cannot read {path}", error) from error
    last = data.removesuffix(b"\n").split(b"\n")[-lines:] if data else []
    return [_cut(line.decode("utf-8", "replace").removesuffix("\r")) for line in last]


def escape(text: str, *, newlines: bool = False) -> str:
    r"""Make text from a container safe to show: what would act on a terminal, or not show, becomes a visible escape.

    Args:
        text: anything.
        newlines: whether line ends stay; otherwise they become `\n`, for a text that must stay on one line.
    """
    return "\n".join(map(_escape_line, text.split("\n"))) if newlines else _escape_line(text)


def escape_json(text: str) -> str:
    """Return a JSON document that says the same, and in which nothing acts on a terminal."""
    return "\n".join(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in text.split("\n"))


def _escape_line(text: str) -> str:
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _cut(line: str) -> str:
    return line if len(line) <= _TAIL_LINE else f"\N{HORIZONTAL ELLIPSIS}{line[-_TAIL_LINE:]}"


def _read_end(stream: BinaryIO, lines: int) -> bytes:
    """Read blocks from the end until they hold that many line ends, or the most that is read."""
    position = stream.seek(0, os.SEEK_END)
    blocks: deque[bytes] = deque()
    ends, size = 0, 0
    # One line end more than lines: the last line's own.
    while position > 0 and ends <= lines and size < _TAIL_MOST:
        length = min(_TAIL_BLOCK, position)
        position -= length
        stream.seek(position)
        block = stream.read(length)
        blocks.appendleft(block)
        ends, size = ends + block.count(b"\n"), size + length
    return b"".join(blocks)
