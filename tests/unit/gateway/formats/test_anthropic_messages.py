"""Messages of Anthropic and counts of tokens, on the shapes that the API has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.gateway.formats.anthropic_messages import COUNT_TOKENS, MESSAGES, read_usage
from runner.gateway.metering import NOTHING, Seen, Usage
from runner.gateway.providers.protocol import Refused
from runner.gateway.sse import Event, make_event

STATED = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 188,
    "cache_read_input_tokens": 2051,
    "cache_creation": {"ephemeral_5m_input_tokens": 188, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 393,
    "service_tier": "standard",
}


def event(kind: str, **more: Any) -> Event:
    """Return an event of this type."""
    return Event(raw=make_event(json.dumps({"type": kind, **more}).encode(), kind))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (STATED, Usage(tokens_in=2260, tokens_out=393, tokens_cached=2051, tokens_cache_written=188)),
        ({"input_tokens": 3, "output_tokens": 0}, Usage(tokens_in=3, tokens_out=0)),
        (
            {"input_tokens": 3, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 7}},
            Usage(tokens_in=3, tokens_out=9, tokens_reasoning=7),
        ),
        ({"input_tokens": 3, "cache_read_input_tokens": None, "output_tokens": 1}, Usage(tokens_in=3, tokens_out=1)),
        ({"input_tokens": 3}, None),
        ({"output_tokens": 3}, None),
        (None, None),
    ],
)
def test_cached_tokens_are_among_those_of_the_request(usage: Any, expected: Usage | None) -> None:
    """The API states three numbers that exclude one another; the request's tokens are their sum."""
    assert read_usage(usage) == expected


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "model": "claude-z",
        "content": [],
        "stop_reason": None,
        "usage": {**STATED, "output_tokens": 1},
    },
)
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": '{"type": "message_stop"}'})
END = event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 89})


def test_stream_counts_on_from_its_start() -> None:
    """At message_start the request's tokens are known, at message_delta the answer's; only then it is more than partial."""
    assert [bool(MESSAGES.matters(one.raw, 0)) for one in (START, event("ping"), DELTA, END)] == [
        True,
        False,
        False,
        True,
    ]
    seen = MESSAGES.see_event(MESSAGES.see_event(MESSAGES.see_event(Seen(), START), event("ping")), DELTA)
    assert (seen.model, seen.partial, seen.done) == ("claude-z", True, False)
    assert seen.usage == Usage(tokens_in=2260, tokens_out=1, tokens_cached=2051, tokens_cache_written=188)
    seen = MESSAGES.see_event(seen, END)
    assert (seen.partial, seen.finish_reason, seen.done) == (False, "tool_use", False)
    assert seen.usage == Usage(tokens_in=2260, tokens_out=89, tokens_cached=2051, tokens_cache_written=188)
    assert MESSAGES.see_event(seen, event("message_stop")).done


def test_delta_may_correct_the_requests_tokens() -> None:
    """Numbers stated again at the end, added up, are the ones that count, as with tools of the provider's own."""
    late = {"input_tokens": 500, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 10, "output_tokens": 89}
    seen = MESSAGES.see_event(Seen(), START)
    seen = MESSAGES.see_event(seen, event("message_delta", delta={"stop_reason": "end_turn"}, usage=late))
    assert seen.usage == Usage(tokens_in=510, tokens_out=89, tokens_cached=0, tokens_cache_written=10)


def test_delta_without_usage_leaves_the_count_partial() -> None:
    """A server that forgets the last count does not make the first one whole."""
    seen = MESSAGES.see_event(
        MESSAGES.see_event(Seen(), START), event("message_delta", delta={"stop_reason": "end_turn"})
    )
    assert (seen.partial, seen.finish_reason) == (True, "end_turn")


def test_error_event_is_read() -> None:
    """An error in the middle of a stream has the error object of the API."""
    one = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    assert MESSAGES.matters(one.raw, 0)
    assert MESSAGES.see_event(Seen(), one).error == "Overloaded"


def test_counting_tokens_takes_none() -> None:
    """A count of tokens is no use of any, and an error of it says nothing about use."""
    assert COUNT_TOKENS.see(Seen(), {"input_tokens": 2095}).usage == NOTHING
    failed = COUNT_TOKENS.see(Seen(), {"type": "error", "error": {"type": "x", "message": "no"}})
    assert (failed.usage, failed.error) == (None, "no")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"), (502, "api_error")],
)
def test_errors_of_the_gateway_have_the_apis_shape(status: int, kind: str) -> None:
    """The type of an error follows from its status, so that SDKs raise the exception they raise for the provider's."""
    refused = Refused(status, "why", kind="x", fault="runner")
    expected = {"type": "error", "error": {"type": kind, "message": "why"}}
    assert json.loads(MESSAGES.error(refused)) == expected
    assert MESSAGES.broken(refused).startswith(b"event: error\ndata: ")
