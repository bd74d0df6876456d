"""Chat completions and the older completions, on the shapes that real endpoints send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.gateway.formats import openai_completions
from runner.gateway.formats.openai_chat import FORMAT, only_usage, read_usage
from runner.gateway.metering import Seen, Usage
from runner.gateway.sse import Event, make_event

OPENAI = {
    "prompt_tokens": 1117,
    "completion_tokens": 46,
    "total_tokens": 1163,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0, "cache_write_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 12, "accepted_prediction_tokens": 0},
}
DEEPSEEK = {"prompt_tokens": 30, "completion_tokens": 9, "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 14}
PLAIN = {"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": None}
HEAD = {"model": "gpt-x-2024", "object": "chat.completion.chunk"}


def event(content: Any) -> Event:
    """Return an event with this object."""
    return Event(raw=make_event(json.dumps(content).encode()))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            OPENAI,
            Usage(tokens_in=1117, tokens_out=46, tokens_cached=1024, tokens_cache_written=64, tokens_reasoning=12),
        ),
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
    objects: list[dict[str, Any]] = [
        {**HEAD, "choices": [{"delta": {"content": "a"}, "finish_reason": None}], "usage": None},
        {**HEAD, "choices": [{"delta": {}, "finish_reason": "length"}], "usage": None},
        {**HEAD, "choices": [], "usage": OPENAI},
    ]
    events = [*map(event, objects), Event(raw=b": comment\n\n"), Event(raw=make_event(b"[DONE]"))]
    seen = Seen()
    for one in events:
        seen = FORMAT.see_event(seen, one)
    assert (seen.model, seen.finish_reason, seen.done, seen.error) == ("gpt-x-2024", "length", True, None)
    assert (seen.usage, seen.partial) == (read_usage(OPENAI), False)
    assert [only_usage(one) for one in events] == [False, False, True, False, False]


def test_events_that_say_something_are_looked_at_and_others_are_not() -> None:
    """The quick look finds usage, reasons, errors and the end, and passes over what the model says of such things."""
    said = json.dumps({"choices": [{"delta": {"content": '"usage": {"x": 1}, "error": {}, finish_reason": "a" '}}]})
    nothing = '{"choices":[{"delta":{"content":"x"},"finish_reason":null}],"usage":null}'
    matter = [
        '{"choices":[],"usage":{"prompt_tokens":1}}',
        '{"choices":[{"finish_reason": "stop"}]}',
        '{"error": {"message": "x"}}',
        "[DONE]",
    ]
    assert [bool(FORMAT.matters(text.encode(), 0)) for text in [said, nothing]] == [False, False]
    assert all(FORMAT.matters(text.encode(), 0) for text in matter)


def test_usage_in_every_chunk_is_partial_until_the_last() -> None:
    """Servers that count on in every chunk are believed at their last word; before it, what is known is partial."""
    first = {**HEAD, "choices": [{"delta": {"content": "x"}, "finish_reason": None}], "usage": PLAIN}
    last = {**HEAD, "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": DEEPSEEK}
    seen = FORMAT.see_event(Seen(), event(first))
    assert (seen.partial, seen.usage) == (True, read_usage(PLAIN))
    seen = FORMAT.see_event(seen, event(last))
    assert (seen.partial, seen.usage) == (False, read_usage(DEEPSEEK))


def test_usage_beside_choices_is_not_the_extra_chunk() -> None:
    """Endpoints that put usage into the last chunk with a choice lose nothing, nor do Azure's filter results."""
    last = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], "usage": PLAIN}
    filtered: dict[str, Any] = {"choices": [], "prompt_filter_results": [{}], "usage": None}
    extra: dict[str, Any] = {"choices": [], "usage": PLAIN}
    assert not FORMAT.hidden(event(last), {})
    assert not FORMAT.hidden(event(filtered), {})
    assert FORMAT.hidden(event(extra), {})
    assert FORMAT.hidden(event(extra), {"stream_options": {"include_usage": False}})
    assert not FORMAT.hidden(event(extra), {"stream_options": {"include_usage": True}})


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"stream": True}, {"stream_options": {"include_usage": True}}),
        ({"stream": True, "stream_options": None}, {"stream_options": {"include_usage": True}}),
        (
            {"stream": True, "stream_options": {"include_usage": False, "x": 1}},
            {"stream_options": {"include_usage": True, "x": 1}},
        ),
        ({"stream": True, "stream_options": {"include_usage": True}}, {}),
        ({"stream": False}, {}),
        ({}, {}),
    ],
)
def test_usage_is_asked_for_in_streams_only(body: dict[str, Any], asked: dict[str, Any]) -> None:
    """A stream whose client does not ask for usage is made to state it; nothing else of its options changes."""
    assert FORMAT.usage_asked(body) == asked
    assert openai_completions.FORMAT.usage_asked(body) == asked


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
    assert FORMAT.see(Seen(), content).error == message


def test_older_completion_is_read_alike() -> None:
    """A completion without messages has its usage and reason where a chat completion has them."""
    body = {"model": "m", "choices": [{"index": 0, "text": "x", "finish_reason": "length"}], "usage": OPENAI}
    seen = openai_completions.FORMAT.see(Seen(), body)
    assert (seen.model, seen.finish_reason, seen.usage) == ("m", "length", read_usage(OPENAI))
    assert openai_completions.FORMAT.fits({"prompt": "x"})
    assert not openai_completions.FORMAT.fits({"messages": []})
