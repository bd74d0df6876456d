"""What is read from answers, on the shapes that real endpoints send."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gateway.metering import Seen, Usage, error_message, parse_object, read_event, read_usage, see, see_event
from runner.gateway.sse import MAX_EVENT, event_data, make_event, split_events

OPENAI = {
    "prompt_tokens": 1117,
    "completion_tokens": 46,
    "total_tokens": 1163,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 12, "accepted_prediction_tokens": 0},
}
DEEPSEEK = {"prompt_tokens": 30, "completion_tokens": 9, "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 14}
PLAIN = {"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": None}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (OPENAI, Usage(tokens_in=1117, tokens_out=46, tokens_cached=1024, tokens_reasoning=12)),
        (DEEPSEEK, Usage(tokens_in=30, tokens_out=9, tokens_cached=16)),
        (PLAIN, Usage(tokens_in=5, tokens_out=0)),
        (None, None),
        ({}, None),
        ({"prompt_tokens": 5}, None),
        ({"prompt_tokens": -1, "completion_tokens": 3}, None),
        ({"prompt_tokens": True, "completion_tokens": 3}, None),
        ({"prompt_tokens": "5", "completion_tokens": 3}, None),
        ([1], None),
    ],
)
def test_usage_is_what_was_stated_and_nothing_else(usage: Any, expected: Usage | None) -> None:
    """Counts are taken as stated; what is missing or absurd is None, never 0."""
    assert read_usage(usage) == expected


def test_stream_is_read_to_its_end() -> None:
    """Over a stream's chunks the model, the reason it stopped and the last usage are gathered."""
    head = {"model": "gpt-x-2024", "object": "chat.completion.chunk"}
    objects: list[dict[str, Any]] = [
        {**head, "choices": [{"delta": {"content": "a"}, "finish_reason": None}], "usage": None},
        {**head, "choices": [{"delta": {}, "finish_reason": "length"}], "usage": None},
        {**head, "choices": [], "usage": OPENAI},
    ]
    raw = [*(make_event(json.dumps(one).encode()) for one in objects), b": comment\n\n", make_event(b"[DONE]")]
    events = [read_event(one) for one in raw]
    seen = Seen()
    for event in events:
        seen = see_event(seen, event)
    assert (seen.model, seen.finish_reason, seen.done, seen.error) == ("gpt-x-2024", "length", True, None)
    assert seen.usage == read_usage(OPENAI)
    assert [event.only_usage for event in events] == [False, False, True, False, False]


def test_usage_beside_choices_is_not_the_extra_chunk() -> None:
    """Endpoints that put usage into the last chunk with a choice lose nothing, nor do Azure's filter results."""
    last = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], "usage": PLAIN}
    filtered: dict[str, Any] = {"choices": [], "prompt_filter_results": [{}], "usage": None}
    assert not read_event(make_event(json.dumps(last).encode())).only_usage
    assert not read_event(make_event(json.dumps(filtered).encode())).only_usage


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"error": {"message": "no", "type": "x"}}, "no"),
        ({"error": "plain"}, "plain"),
        ({"error": {"code": 5}}, '{"code": 5}'),
        ({"choices": []}, None),
        ({"error": None}, None),
    ],
)
def test_error_is_found_in_every_shape(content: dict[str, Any], message: str | None) -> None:
    """Errors come as objects, as text or as nothing."""
    assert error_message(content) == message
    assert see(Seen(), content).error == message


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_object_is_none(data: bytes) -> None:
    """Nonsense from an endpoint is nothing, not an exception."""
    assert parse_object(data) is None


@given(
    parts=st.lists(st.sampled_from([b"data: a", b"data:b\ndata: c", b"event: x\ndata: d", b":note"]), max_size=6),
    end=st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]),
    cuts=st.lists(st.integers(0, 80), max_size=5),
)
def test_events_do_not_depend_on_how_the_bytes_arrive(parts: list[bytes], end: bytes, cuts: list[int]) -> None:
    """However a stream is cut into pieces, the same events come out, and no byte is lost."""
    stream = b"".join(part + end for part in parts)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    found: list[bytes] = []
    rest = b""
    for start, stop in itertools.pairwise(places):
        events, rest = split_events(rest + stream[start:stop])
        found += events
    assert b"".join(found) + rest == stream
    assert found == split_events(stream)[0]


def test_event_of_several_lines_is_joined() -> None:
    """Data lines are joined by line ends, other fields are left out."""
    assert event_data(b"event: x\r\ndata: one\r\ndata:two\r\n\r\n") == b"one\ntwo"


def test_event_without_end_is_passed_on_in_pieces() -> None:
    """A line that never ends does not pile up in memory."""
    events, rest = split_events(b"x" * (MAX_EVENT + 1))
    assert (len(events[0]), rest) == (MAX_EVENT + 1, b"")
