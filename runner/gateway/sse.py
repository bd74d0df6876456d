"""Server-sent events as bytes: cut a stream at its blank lines without changing a byte of it.

Format: the event stream format of the HTML standard, section 9.2. Only `data` fields matter here.
"""

from __future__ import annotations

import re

_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")
MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event; a longer one is passed on in pieces and not read."""
DONE = b"[DONE]"
"""Data of the event that ends a stream of chat completions."""


def split_events(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Cut a buffer into whole events, each with its blank line, and the rest that is not yet one."""
    events: list[bytes] = []
    start = 0
    for end in _BLANK_LINE.finditer(buffer):
        events.append(buffer[start : end.end()])
        start = end.end()
    rest = buffer[start:]
    return (events, rest) if len(rest) <= MAX_EVENT else ([*events, rest], b"")


def event_data(event: bytes) -> bytes:
    """Return an event's data: its `data` lines, joined."""
    lines = (line.partition(b":") for line in _LINE_END.split(event))
    return b"\n".join(value.removeprefix(b" ") for name, _, value in lines if name == b"data")


def make_event(data: bytes) -> bytes:
    """Return an event with this data, which must hold no line end."""
    return b"data: " + data + b"\n\n"
