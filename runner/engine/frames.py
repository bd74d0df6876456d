"""The engine's multiplexed log stream, taken apart as it arrives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.errors import EngineError

_HEADER = 8
_STREAMS = {1: "stdout", 2: "stderr"}
_ENGINE_TROUBLE = 3
_TROUBLE_SHOWN = 2048


def demultiplex(chunks: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Take a multiplexed stream apart without ever holding more than the chunk at hand.

    A frame is a header of eight bytes (stream number, three zeros, payload length as big-endian 32 bit) and its payload,
    as the engine API's reference describes under "attach to a container". Frames may begin and end anywhere in a chunk.
    A stream that stops inside a frame just ends.

    Args:
        chunks: the stream's bytes, cut anywhere.

    Yields:
        `(stream, bytes)`, never empty.

    Raises:
        EngineError: if these are no frames, or the engine reports its own trouble in the stream.
    """
    header, name, left = b"", "", 0
    for chunk in chunks:
        position = 0
        while position < len(chunk):
            if left:
                payload = chunk[position : position + left]
                position, left = position + len(payload), left - len(payload)
                if not name:
                    raise _trouble(payload)
                yield name, payload
                continue
            taken = chunk[position : position + _HEADER - len(header)]
            header, position = header + taken, position + len(taken)
            if len(header) == _HEADER:
                name, left = _parse(header)
                header = b""


def _parse(header: bytes) -> tuple[str, int]:
    """Return the stream's name (empty: the engine's own trouble) and the payload's length."""
    number = header[0]
    if header[1:4] != b"\0\0\0" or not (number in _STREAMS or number == _ENGINE_TROUBLE):
        raise EngineError(
            f"a log stream holds {header!r} where a frame should begin",
            why="the container has a terminal, or a proxy changed the stream",
        )
    return _STREAMS.get(number, ""), int.from_bytes(header[4:], "big")


def _trouble(payload: bytes) -> EngineError:
    return EngineError(
        "the engine could not go on reading a container's log",
        why=payload[:_TROUBLE_SHOWN].decode("utf-8", "replace").strip(),
    )
