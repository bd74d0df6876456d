"""Server-sent events as bytes: cut a stream at its blank lines without changing a byte of it.

Format: the event stream format of the HTML standard, section 9.2. Only `data` fields matter here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from runner.gateway.jsontext import parse_object

_BLANK_LINE = re.compile(rb"\r?\n\r?\n|\r\r")
_BLANK_LINES = (b"\n\n", b"\n\r\n", b"\r\r")
"""What every blank line ends with."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LONGEST_BLANK_LINE = 4
MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event; a longer one is no answer of a model."""
DONE = b"[DONE]"
"""Data of the event that ends a stream of the OpenAI API."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of a stream; it is read no further than somebody asks."""

    raw: bytes

    @cached_property
    def data(self) -> bytes:
        return event_data(self.raw)

    @cached_property
    def content(self) -> Mapping[str, Any] | None:
        """Return the JSON object in it, if there is one."""
        return parse_object(self.data)

    @property
    def done(self) -> bool:
        return self.data == DONE


class Cutter:
    """Holds the beginning of an event until its end has come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def take(self, piece: bytes) -> bytes:
        """Return the whole events there are now, as they came.

        Raises:
            ValueError: if an event is longer than MAX_EVENT.
        """
        since = max(0, len(self._held) - _LONGEST_BLANK_LINE + 1)
        self._held += piece
        end = last_end(self._held, since, len(self._held)) or 0
        whole = bytes(self._held[:end])
        del self._held[:end]
        if len(self._held) > MAX_EVENT:
            raise ValueError(f"an event of more than {MAX_EVENT} bytes")
        return whole

    def rest(self) -> bytes:
        """Return what is left when the stream has ended: an event without its end."""
        held = bytes(self._held)
        self._held.clear()
        return held


def last_end(data: bytes | bytearray, start: int, stop: int) -> int | None:
    """Return where the last event between two places ends; None if none does.

    Searched from behind, as most of what streams carry is passed on and not looked at any closer.
    """
    ends = [at + len(blank) for blank in _BLANK_LINES if (at := data.rfind(blank, start, stop)) >= 0]
    return max(ends, default=None)


def next_end(data: bytes, start: int) -> int:
    """Return where the event that begins here ends: behind its blank line, or with the data."""
    blank = _BLANK_LINE.search(data, start)
    return blank.end() if blank is not None else len(data)


def split_events(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Cut a buffer into whole events, each with its blank line, and the rest that is not yet one."""
    events: list[bytes] = []
    start = 0
    for end in _BLANK_LINE.finditer(buffer):
        events.append(buffer[start : end.end()])
        start = end.end()
    return events, buffer[start:]


def event_data(event: bytes) -> bytes:
    """Return an event's data: its `data` lines, joined."""
    lines = (line.partition(b":") for line in _LINE_END.split(event))
    return b"\n".join(value.removeprefix(b" ") for name, _, value in lines if name == b"data")


def make_event(data: bytes, name: str = "") -> bytes:
    """Return an event with this data, which must hold no line end, and this name, if it has one."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n"
