"""Chat completions of the OpenAI API: `POST /v1/chat/completions`.

Source: the API reference of OpenAI, objects chat completion and chat completion chunk, and what compatible servers make
of them. With `stream_options.include_usage` the last chunk before `[DONE]` has `usage` and an empty list of choices.
Cached tokens stand in `prompt_tokens_details.cached_tokens`; DeepSeek says `prompt_cache_hit_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.gateway.formats import openai_chat_script
from runner.gateway.formats.protocol import Format, asks_stream
from runner.gateway.formats.sampling import pinner
from runner.gateway.metering import Seen, Usage, count, error_message, inner, text
from runner.gateway.sse import Event
from runner.gateway.wire import openai_body, openai_broken

_MATTERS = re.compile(rb'"(?:usage"\s*:\s*\{|finish_reason"\s*:\s*"|error"\s*:\s*[{"])|\[DONE\]')
"""In a text that the model says, quotation marks have a backslash before them, and none of these is found."""


def see(seen: Seen, content: Mapping[str, Any]) -> Seen:
    """Add what one completion or chunk says."""
    reason = _finish_reason(content)
    usage = read_usage(content.get("usage"))
    return replace(
        seen,
        model=text(content.get("model")) or seen.model,
        finish_reason=reason or seen.finish_reason,
        usage=usage or seen.usage,
        # Some servers state in every chunk what there is so far: the last word is beside a reason, or without choices.
        partial=bool(content.get("choices")) and reason is None if usage is not None else seen.partial,
        error=error_message(content) or seen.error,
    )


def see_event(seen: Seen, event: Event) -> Seen:
    """Add what one event says."""
    if event.done:
        return replace(seen, done=True)
    return see(seen, event.content) if event.content is not None else seen


def read_usage(usage: object) -> Usage | None:
    """Return stated usage, or None if there is no count of the request's and the answer's tokens."""
    if not isinstance(usage, Mapping):
        return None
    tokens_in, tokens_out = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    details = inner(usage, "prompt_tokens_details")
    cached = count(details.get("cached_tokens"))
    return Usage(
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        tokens_cached=cached if cached is not None else count(usage.get("prompt_cache_hit_tokens")),
        tokens_cache_written=count(details.get("cache_write_tokens")),
        tokens_reasoning=count(inner(usage, "completion_tokens_details").get("reasoning_tokens")),
    )


def usage_asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for usage in a stream, if the request does not."""
    if not asks_stream(body) or _asks_usage(body):
        return {}
    return {"stream_options": {**inner(body, "stream_options"), "include_usage": True}}


def only_usage(event: Event) -> bool:
    """Tell whether an event is the extra chunk that include_usage adds."""
    content = event.content
    return content is not None and content.get("choices") == [] and bool(content.get("usage"))


def hidden(event: Event, body: Mapping[str, Any]) -> bool:
    """Tell whether an event is that chunk, and the request did not ask for it."""
    return not _asks_usage(body) and only_usage(event)


def _asks_usage(body: Mapping[str, Any]) -> bool:
    return inner(body, "stream_options").get("include_usage") is True


def _finish_reason(content: Mapping[str, Any]) -> str | None:
    choices = content.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return text(first.get("finish_reason")) if isinstance(first, Mapping) else None


FORMAT = Format(
    name="openai-chat",
    family="openai",
    wants="a JSON object with a list of messages",
    fits=lambda body: isinstance(body.get("messages"), list),
    pins=pinner(longest=("max_completion_tokens", "max_tokens"), seed=True),
    usage_asked=usage_asked,
    see=see,
    see_event=see_event,
    matters=_MATTERS.search,
    hidden=hidden,
    error=openai_body,
    broken=openai_broken,
    scripted=openai_chat_script.SCRIPTED,
)
