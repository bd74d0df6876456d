"""What an answer says about itself: model, usage, why it stopped. Pure; from a body or from a stream's events.

Formats: chat completion and chat completion chunk objects of the OpenAI API, and what compatible servers make of them.
With `stream_options.include_usage` the last chunk before `[DONE]` has `usage` and an empty list of choices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.gateway.sse import DONE, event_data


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens as stated; None where nothing was stated."""

    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What has been seen of an answer so far."""

    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    """Message of an error object, in a body or in the middle of a stream."""
    done: bool = False
    """Whether the stream has said that it is complete."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of a stream: its bytes, and the object in it if there is one."""

    raw: bytes
    data: bytes
    content: Mapping[str, Any] | None

    @property
    def done(self) -> bool:
        return self.data == DONE

    @property
    def only_usage(self) -> bool:
        """Tell whether this is the extra chunk that include_usage adds."""
        return self.content is not None and self.content.get("choices") == [] and bool(self.content.get("usage"))


def read_event(raw: bytes) -> Event:
    """Parse one event's bytes; what is no JSON object has no content."""
    data = event_data(raw)
    return Event(raw=raw, data=data, content=parse_object(data))


def parse_object(data: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object in `data`, or None if it is anything else."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def see(seen: Seen, content: Mapping[str, Any]) -> Seen:
    """Add what one completion or chunk says; what it does not say stays as it was."""
    return replace(
        seen,
        model=_text(content.get("model")) or seen.model,
        finish_reason=_finish_reason(content) or seen.finish_reason,
        usage=read_usage(content.get("usage")) or seen.usage,
        error=error_message(content) or seen.error,
    )


def see_event(seen: Seen, event: Event) -> Seen:
    """Add what one event says."""
    if event.done:
        return replace(seen, done=True)
    return see(seen, event.content) if event.content is not None else seen


def read_usage(usage: object) -> Usage | None:
    """Return stated usage, or None if there is no count of the request's and the answer's tokens.

    Cached tokens stand in `prompt_tokens_details.cached_tokens`; DeepSeek says `prompt_cache_hit_tokens`.
    """
    if not isinstance(usage, Mapping):
        return None
    tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    cached = _count(_inner(usage, "prompt_tokens_details").get("cached_tokens"))
    return Usage(
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        tokens_cached=cached if cached is not None else _count(usage.get("prompt_cache_hit_tokens")),
        tokens_reasoning=_count(_inner(usage, "completion_tokens_details").get("reasoning_tokens")),
    )


def error_message(content: Mapping[str, Any]) -> str | None:
    """Return the message of an error object, whichever of the usual shapes it has."""
    error = content.get("error")
    if isinstance(error, Mapping):
        return _text(error.get("message")) or json.dumps(error)[:500]
    return _text(error)


def _finish_reason(content: Mapping[str, Any]) -> str | None:
    choices = content.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return _text(first.get("finish_reason")) if isinstance(first, Mapping) else None


def _inner(usage: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = usage.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
