"""What an answer says about itself: model, usage, why it stopped. What every wire format needs to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens as stated; None where nothing was stated."""

    tokens_in: int | None = None
    """Of the request, cached and newly cached ones included."""
    tokens_out: int | None = None
    """Of the answer, reasoning included."""
    tokens_cached: int | None = None
    tokens_cache_written: int | None = None
    tokens_reasoning: int | None = None


NOTHING = Usage(tokens_in=0, tokens_out=0, tokens_cached=0, tokens_cache_written=0, tokens_reasoning=0)
"""Usage of a call that by its nature takes no tokens."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What has been seen of an answer so far."""

    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    partial: bool = False
    """Whether `usage` is what had been stated in the middle of the answer, and more was to come."""
    error: str | None = None
    """Message of an error object, in a body or in the middle of a stream."""
    done: bool = False
    """Whether the stream has said that it is complete."""


def count(value: object) -> int | None:
    """Return a number of tokens; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def text(value: object) -> str | None:
    """Return a text that says something; None for anything else."""
    return value if isinstance(value, str) and value else None


def inner(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object under this key; an empty one if there is none."""
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}


def error_message(content: Mapping[str, Any]) -> str | None:
    """Return the message of an error object, whichever of the usual shapes it has."""
    error = content.get("error")
    if isinstance(error, Mapping):
        return text(error.get("message")) or json.dumps(error)[:500]
    return text(error)
