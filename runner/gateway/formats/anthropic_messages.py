"""Messages of the Anthropic API: `POST /v1/messages`, and `POST /v1/messages/count_tokens`.

Source: Anthropic's API reference, Messages and Streaming Messages. `usage.input_tokens` leaves out what was read from a
cache and what was written to it: `cache_read_input_tokens` and `cache_creation_input_tokens` are beside it, and
the request's tokens are the sum of the three. `output_tokens` has the thinking in it, which
`output_tokens_details.thinking_tokens` may tell. A stream states its request's tokens at `message_start`, with the first
of the answer's, and all of them, added up, at `message_delta`; `message_stop` ends it, `error` breaks it off.
Counting tokens takes none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.gateway.formats import anthropic_messages_script
from runner.gateway.formats.protocol import Format
from runner.gateway.formats.sampling import pinner
from runner.gateway.metering import NOTHING, Seen, Usage, count, error_message, inner, text
from runner.gateway.sse import Event
from runner.gateway.wire import anthropic_body, anthropic_broken

_MATTERS = re.compile(rb'"type"\s*:\s*"(?:message_(?:start|delta|stop)|error)"|"error"\s*:\s*[{"]')


def see(seen: Seen, content: Mapping[str, Any]) -> Seen:
    """Add what one message says."""
    return replace(
        seen,
        model=text(content.get("model")) or seen.model,
        finish_reason=text(content.get("stop_reason")) or seen.finish_reason,
        usage=read_usage(content.get("usage"), seen.usage) or seen.usage,
        error=error_message(content) or seen.error,
    )


def see_event(seen: Seen, event: Event) -> Seen:
    """Add what one event says."""
    content = event.content or {}
    match content.get("type"):
        case "message_start":
            return replace(see(seen, inner(content, "message")), partial=True)
        case "message_delta":
            stated = read_usage(content.get("usage"), seen.usage)
            reason = text(inner(content, "delta").get("stop_reason"))
            return replace(
                seen,
                usage=stated or seen.usage,
                finish_reason=reason or seen.finish_reason,
                partial=seen.partial and (stated is None or reason is None),
            )
        case "message_stop":
            return replace(seen, done=True)
    return replace(seen, error=error_message(content) or seen.error)


def read_usage(usage: object, before: Usage | None = None) -> Usage | None:
    """Return stated usage, on top of what was stated before; None if the two counts that matter are not there."""
    if not isinstance(usage, Mapping):
        return None
    old = before or Usage()
    fresh, cached, written = (
        count(usage.get(name)) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    cached = old.tokens_cached if cached is None else cached
    written = old.tokens_cache_written if written is None else written
    if fresh is None and old.tokens_in is not None:
        fresh = old.tokens_in - (old.tokens_cached or 0) - (old.tokens_cache_written or 0)
    tokens_out = count(usage.get("output_tokens"))
    tokens_out = old.tokens_out if tokens_out is None else tokens_out
    if fresh is None or tokens_out is None:
        return None
    thinking = count(inner(usage, "output_tokens_details").get("thinking_tokens"))
    return Usage(
        tokens_in=fresh + (cached or 0) + (written or 0),
        tokens_out=tokens_out,
        tokens_cached=cached,
        tokens_cache_written=written,
        tokens_reasoning=old.tokens_reasoning if thinking is None else thinking,
    )


def see_count(seen: Seen, content: Mapping[str, Any]) -> Seen:
    """Note that a count was given, which takes no tokens."""
    error = error_message(content)
    return replace(seen, error=error or seen.error, usage=seen.usage if error else NOTHING)


def _fits(body: Mapping[str, Any]) -> bool:
    return isinstance(body.get("messages"), list)


MESSAGES = Format(
    name="anthropic-messages",
    family="anthropic",
    wants="a JSON object with a list of messages",
    fits=_fits,
    pins=pinner(longest=("max_tokens",), seed=False),
    see=see,
    see_event=see_event,
    matters=_MATTERS.search,
    error=anthropic_body,
    broken=anthropic_broken,
    scripted=anthropic_messages_script.SCRIPTED,
)
COUNT_TOKENS = Format(
    name="anthropic-count-tokens",
    family="anthropic",
    wants=MESSAGES.wants,
    fits=_fits,
    see=see_count,
    error=anthropic_body,
    broken=anthropic_broken,
)
