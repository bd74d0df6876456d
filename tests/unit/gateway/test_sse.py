"""Cutting streams into events, however their bytes arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gateway.sse import MAX_EVENT, Cutter, Event, event_data, make_event, split_events

ENDS = [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"]


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from([b"data: a", b"data:b\ndata: c", b"event: x\ndata: d", b":note"]), st.sampled_from(ENDS)
        ),
        max_size=8,
    ),
    rest=st.sampled_from([b"", b"data: unfinished", b"\r", b"\n"]),
    cuts=st.lists(st.integers(0, 120), max_size=8),
)
def test_events_do_not_depend_on_how_the_bytes_arrive(
    parts: list[tuple[bytes, bytes]], rest: bytes, cuts: list[int]
) -> None:
    """However a stream is cut into pieces, the same events come out, only whole ones, and no byte is lost."""
    stream = b"".join(part + end for part, end in parts) + rest
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    cutter = Cutter()
    found = [cutter.take(stream[start:stop]) for start, stop in itertools.pairwise(places)]
    left = cutter.rest()
    assert b"".join(found) + left == stream
    assert split_events(left)[0] == []
    for whole in found:
        assert split_events(whole)[1].strip() == b""


def test_events_are_as_many_as_were_sent() -> None:
    """Every kind of blank line ends an event."""
    stream = b"".join(b"data: %d" % number + end for number, end in enumerate(ENDS))
    assert [event_data(event) for event in split_events(stream)[0]] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("end", ENDS)
def test_event_is_there_with_its_last_byte(end: bytes) -> None:
    """An event waits for nothing that comes after it, wherever its blank line is cut."""
    for cut in range(len(end) + 1):
        cutter = Cutter()
        first = cutter.take(b"data: a" + end[:cut])
        assert first + cutter.take(end[cut:]) == b"data: a" + end
        assert cutter.rest() == b""


def test_event_of_several_lines_is_joined() -> None:
    """Data lines are joined by line ends, other fields are left out."""
    assert event_data(b"event: x\r\ndata: one\r\ndata:two\r\n\r\n") == b"one\ntwo"


def test_event_that_never_ends_is_an_error() -> None:
    """A line that never ends does not pile up in memory, and costs no more time than its length."""
    cutter = Cutter()
    for _ in range(MAX_EVENT >> 10):
        assert cutter.take(b"x" * 1024) == b""
    with pytest.raises(ValueError, match="an event of more than 16777216 bytes"):
        cutter.take(b"x")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_object_is_none(data: bytes) -> None:
    """Nonsense from an endpoint is nothing, not an exception."""
    assert Event(raw=make_event(data)).content is None


def test_event_with_a_name_has_it_before_its_data() -> None:
    """A named event is one that SDKs of Anthropic know by its name."""
    assert make_event(b"{}", "ping") == b"event: ping\ndata: {}\n\n"
