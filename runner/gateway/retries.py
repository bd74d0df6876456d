"""Which failed tries are worth another, and when: what a reply's status and headers say of that."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import AsyncGenerator
from datetime import UTC
from email.utils import parsedate_to_datetime

from runner.gateway.providers.protocol import Refused, Reply

_PASSING = {408, 429, *range(500, 600)}
"""Statuses of errors that pass: RFC 9110, and RFC 6585 for 429. Vendors' own beyond 511 (529: overloaded) among them."""
_FIRST_ERROR = 400
_LONGEST_ERROR = 1 << 20
"""Bytes of an error's body that are kept."""
_ERROR_SECONDS = 30.0
"""How long an error's body may take."""
_HOPELESS = (b"insufficient_quota", b"billing_hard_limit_reached")
"""OpenAI's words in errors of status 429 that no wait mends: the account is empty."""
_SHOULD_RETRY = "x-should-retry"
"""What OpenAI's and Anthropic's own SDKs go by before they look at the status."""


def may_retry(found: Reply | Refused) -> bool:
    """Tell whether another try may succeed, by what the provider says, else by the status."""
    if isinstance(found, Refused):
        return found.retry if found.retry is not None else found.status in _PASSING
    if found.status < _FIRST_ERROR:
        return False
    said = found.headers.get(_SHOULD_RETRY, "").strip().lower()
    return said == "true" or (said != "false" and found.status in _PASSING)


def status_of(found: Reply | Refused) -> int:
    """Return the HTTP status of a try; 0 for one without an answer."""
    return 0 if isinstance(found, Refused) else found.status


def retry_after(found: Reply | Refused, now: float) -> float | None:
    """Return after how many seconds the provider wants to be asked again; None if it does not say.

    Args:
        found: how the try ended.
        now: seconds since the epoch, for a date.
    """
    if isinstance(found, Refused):
        return found.after
    milliseconds = _seconds(found.headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = found.headers.get("retry-after", "")
    seconds = _seconds(text)
    return seconds if seconds is not None else _until(text, now)


async def buffered(reply: Reply) -> Reply:
    """Return an error reply whose body has been read, so that it holds no connection while others are tried.

    One that says that no wait will help gets the header that keeps everybody from trying again.

    Raises:
        Refused: if the body cannot be read.
    """
    kept = bytearray()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ERROR_SECONDS), contextlib.aclosing(reply.body) as body:
            async for piece in body:
                kept += piece[: _LONGEST_ERROR - len(kept)]
                if len(kept) >= _LONGEST_ERROR:
                    break
    hopeless = any(word in kept for word in _HOPELESS)
    headers = {**reply.headers, _SHOULD_RETRY: "false"} if hopeless else reply.headers
    return dataclasses.replace(reply, headers=headers, body=_again(bytes(kept)))


async def _again(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(text: str, now: float) -> float | None:
    """Return the seconds until an HTTP date, RFC 9110 section 5.6.7; 0 for one that has passed."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
