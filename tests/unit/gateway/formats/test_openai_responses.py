"""Responses, on the shapes that the API has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.gateway.formats.openai_responses import FORMAT
from runner.gateway.metering import Seen, Usage
from runner.gateway.providers.protocol import Refused
from runner.gateway.sse import Event, event_data, make_event

STATED = {
    "input_tokens": 328,
    "input_tokens_details": {"cached_tokens": 256, "cache_write_tokens": 0},
    "output_tokens": 52,
    "output_tokens_details": {"reasoning_tokens": 40},
    "total_tokens": 380,
}
USAGE = Usage(tokens_in=328, tokens_out=52, tokens_cached=256, tokens_cache_written=0, tokens_reasoning=40)


def response(status: str, **more: Any) -> dict[str, Any]:
    """Return a response object."""
    return {"id": "resp_1", "object": "response", "status": status, "model": "gpt-y-2025", "error": None, **more}


def event(kind: str, **more: Any) -> Event:
    """Return an event of this type."""
    return Event(raw=make_event(json.dumps({"type": kind, **more}).encode(), kind))


def test_whole_response_states_its_usage() -> None:
    """Model, usage with its details and the state are read."""
    seen = FORMAT.see(Seen(), response("completed", usage=STATED, incomplete_details=None))
    assert (seen.model, seen.usage, seen.finish_reason, seen.error) == ("gpt-y-2025", USAGE, "completed", None)


def test_background_response_has_not_stated_any() -> None:
    """A response that is made later has no usage yet, which is unknown and not 0."""
    assert FORMAT.see(Seen(), response("queued", usage=None)).usage is None


@pytest.mark.parametrize(
    ("last", "reason", "error"),
    [
        (event("response.completed", response=response("completed", usage=STATED)), "completed", None),
        (
            event(
                "response.incomplete",
                response=response("incomplete", usage=STATED, incomplete_details={"reason": "max_output_tokens"}),
            ),
            "max_output_tokens",
            None,
        ),
        (
            event("response.failed", response={**response("failed", usage=STATED), "error": {"message": "broke"}}),
            "failed",
            "broke",
        ),
    ],
)
def test_last_event_of_a_stream_has_it_all(last: Event, reason: str, error: str | None) -> None:
    """Each of the three events that end a stream holds the usage, and says how it ended."""
    events = [
        event("response.created", response=response("in_progress", usage=None)),
        event("response.output_text.delta", delta='{"type":"response.completed"}'),
        last,
    ]
    assert [bool(FORMAT.matters(one.raw, 0)) for one in events] == [False, False, True]
    seen = FORMAT.see_event(Seen(), events[0])
    assert (seen.model, seen.done, seen.finish_reason) == ("gpt-y-2025", False, None)
    seen = FORMAT.see_event(FORMAT.see_event(seen, events[1]), events[2])
    assert (seen.usage, seen.finish_reason, seen.error, seen.done, seen.partial) == (USAGE, reason, error, True, False)


def test_error_event_is_read() -> None:
    """The API's own error event has its message at the top."""
    one = event("error", code="rate_limit_exceeded", message="slow down", param=None, sequence_number=3)
    assert FORMAT.matters(one.raw, 0)
    assert FORMAT.see_event(Seen(), one).error == "slow down"


def test_broken_stream_says_so_in_both_ways() -> None:
    """The event of a broken stream is the API's own, and has the object that SDKs make an exception of."""
    broken = FORMAT.broken(Refused(502, "gone", kind="api_connection_error", fault="provider"))
    content = json.loads(event_data(broken))
    assert (content["type"], content["message"], content["error"]["message"]) == ("error", "gone", "gone")
    assert FORMAT.see_event(Seen(), Event(raw=broken)).error == "gone"
