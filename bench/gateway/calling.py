"""A client that costs next to nothing: it sends a request, and reads its answer only for the size and the end."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass

from gateway.ways import Connection, Side

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Took:
    """What one call took."""

    size: int
    """Bytes of the answer's body, as they came."""
    first_byte: float
    """Seconds until the first byte of the body."""
    total: float
    """Seconds until its last."""


async def call(side: Side, words: str, connection: Connection) -> Took:
    """Make a call on a connection that is kept.

    Raises:
        SystemExit: if the answer is an error or breaks off, as there is nothing to measure then.
    """
    reader, writer = connection
    request = side.request(words)
    begun = time.perf_counter()
    writer.write(request)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not answered: {head.decode()}")
        first = await reader.readexactly(1)
        first_byte = time.perf_counter() - begun
        length = _LENGTH.search(head)
        rest = len(await reader.readexactly(int(length[1]) - 1)) if length else await _chunks(reader, first)
    except asyncio.IncompleteReadError as error:
        raise SystemExit(f"an answer broke off after {error.partial[-80:]!r}") from None
    return Took(size=1 + rest, first_byte=first_byte, total=time.perf_counter() - begun)


async def calls(side: Side, words: str, times: int = 1) -> int:
    """Make calls, one after the other, on a connection of their own; return how many bytes their answers had."""
    connection = await side.connect()
    size = 0
    for _ in range(times):
        size += (await call(side, words, connection)).size
    connection[1].close()
    return size


async def _chunks(reader: asyncio.StreamReader, last: bytes) -> int:
    """Read a body in chunks to its end (RFC 9112, section 7.1); return the size of what was read."""
    size = 0
    while not last.endswith(_LAST_CHUNK):
        piece = await reader.read(1 << 16)
        if not piece:
            raise asyncio.IncompleteReadError(last, None)
        size += len(piece)
        last = last[-len(_LAST_CHUNK) :] + piece
    return size
