"""Responses of the OpenAI API: `POST /v1/responses`.

Source: the API reference of OpenAI, object response and its streaming events. The events `response.completed`,
`response.incomplete` and `response.failed` end a stream and hold the whole response, whose `usage` has `input_tokens`
(with `input_tokens_details.cached_tokens`) and `output_tokens` (with `output_tokens_details.reasoning_tokens`). An event
`error` has its message at its top. A response made in the background states its usage later, to `GET`; it is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.gateway.formats import openai_responses_script
from runner.gateway.formats.protocol import Format
from runner.gateway.formats.sampling import pinner
from runner.gateway.metering import Seen, Usage, count, error_message, inner, text
from runner.gateway.sse import Event
from runner.gateway.wire import openai_body, responses_broken

_MATTERS = re.compile(
    rb'"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|error)"|"error"\s*:\s*[{"]|\[DONE\]'
)
_LAST = {"response.completed", "response.incomplete", "response.failed"}


def see(seen: Seen, content: Mapping[str, Any]) -> Seen:
    """Add what one response says."""
    reason = text(inner(content, "incomplete_details").get("reason")) or text(content.get("status"))
    return replace(
        seen,
        model=text(content.get("model")) or seen.model,
        finish_reason=reason or seen.finish_reason,
        usage=read_usage(content.get("usage")) or seen.usage,
        error=error_message(content) or seen.error,
    )


def see_event(seen: Seen, event: Event) -> Seen:
    """Add what one event says."""
    if event.done:
        return replace(seen, done=True)
    content = event.content or {}
    kind = content.get("type")
    if kind == "error":
        return replace(seen, error=text(content.get("message")) or error_message(content) or "an error without a word")
    if kind in _LAST:
        return replace(see(seen, inner(content, "response")), done=True)
    return replace(
        seen,
        model=text(inner(content, "response").get("model")) or seen.model,
        error=error_message(content) or seen.error,
    )


def read_usage(usage: object) -> Usage | None:
    """Return stated usage, or None if there is no count of the request's and the answer's tokens."""
    if not isinstance(usage, Mapping):
        return None
    tokens_in, tokens_out = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    details = inner(usage, "input_tokens_details")
    return Usage(
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        tokens_cached=count(details.get("cached_tokens")),
        tokens_cache_written=count(details.get("cache_write_tokens")),
        tokens_reasoning=count(inner(usage, "output_tokens_details").get("reasoning_tokens")),
    )


FORMAT = Format(
    name="openai-responses",
    family="openai",
    pins=pinner(longest=("max_output_tokens",), seed=False),
    see=see,
    see_event=see_event,
    matters=_MATTERS.search,
    error=openai_body,
    broken=responses_broken,
    scripted=openai_responses_script.SCRIPTED,
)
