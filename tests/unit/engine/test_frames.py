"""Taking the engine's log stream apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.frames import demultiplex
from runner.errors import EngineError

_NUMBERS = {"stdout": 1, "stderr": 2}


def _frame(number: int, payload: bytes) -> bytes:
    return bytes([number, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def _joined(pieces: list[tuple[str, bytes]]) -> dict[str, bytes]:
    return {name: b"".join(chunk for stream, chunk in pieces if stream == name) for name in _NUMBERS}


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=40)), max_size=12),
    st.integers(min_value=1, max_value=23),
)
def test_cuts_do_not_matter(frames: list[tuple[str, bytes]], size: int) -> None:
    """However the stream is cut, each stream's bytes come back in order and in pieces no larger than the cuts."""
    data = b"".join(_frame(_NUMBERS[name], payload) for name, payload in frames)
    pieces = list(demultiplex(data[at : at + size] for at in range(0, len(data), size)))
    assert _joined(pieces) == _joined(frames)
    assert all(0 < len(chunk) <= size for _, chunk in pieces)


def test_a_huge_frame_is_passed_on_as_it_comes() -> None:
    """A frame that announces four gigabytes is not waited for."""
    announced = bytes([1, 0, 0, 0]) + b"\xff" * 4
    pieces = demultiplex(iter([announced + b"first", b"second"]))
    assert next(pieces) == ("stdout", b"first")
    assert next(pieces) == ("stdout", b"second")


@pytest.mark.parametrize("length", range(1, 12))
def test_a_stream_that_stops_midway_ends(length: int) -> None:
    """A stream cut in a header or a payload yields what came, and ends."""
    pieces = list(demultiplex([_frame(2, b"data")[:length]]))
    assert _joined(pieces) == {"stdout": b"", "stderr": b"data"[: max(0, length - 8)]}


@pytest.mark.parametrize("data", [b"plain text", b"\x09\0\0\0\0\0\0\x01x", b"\x01\0\x01\0\0\0\0\x01x"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    """A stream that is not multiplexed is an error, not output."""
    with pytest.raises(EngineError, match="where a frame should begin"):
        list(demultiplex([data]))


def test_the_engines_own_trouble_is_an_error() -> None:
    """What the engine reports about itself is raised, after the output before it."""
    pieces = demultiplex([_frame(1, b"out") + _frame(3, b"log file is gone\n")])
    assert next(pieces) == ("stdout", b"out")
    with pytest.raises(EngineError) as caught:
        next(pieces)
    assert caught.value.why == "log file is gone"
