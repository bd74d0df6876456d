"""A call while it is under way: facts as they become known, until they make a line of the calls file."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.gateway.calls import Call
from runner.gateway.formats import find
from runner.gateway.formats.protocol import Format, asks_stream
from runner.gateway.jsontext import JsonObject
from runner.gateway.metering import Seen, Usage, text
from runner.gateway.prices import Cost
from runner.gateway.providers.protocol import Fault, Refused
from runner.gateway.session import SessionSpec
from runner.gateway.traffic import Tries

_NOT_PARAMETERS = {
    *("messages", "tools", "functions", "model", "stream", "stream_options"),
    *("user", "input", "prompt", "system", "instructions"),
}
_LONGEST_PARAMETER = 1024
_LONGEST_KEPT = 16 * 1024 * 1024
"""Bytes of an answer that are kept while it goes on; many may go on at once."""
_FIRST_ERROR = 400
_NO_COST = Cost(usd=None, reason="no price is known")
_NOTHING: Mapping[str, Any] = {}
SourceOfUsage = Literal["provider", "rule", "partial", "no answer", "unknown"]


def clean(words: str) -> str:
    """Return a text with what UTF-8 cannot hold replaced: a framework may send half a character."""
    return words.encode("utf-8", "replace").decode()


@dataclass(kw_only=True)
class Draft:
    """Holds what is known of one call."""

    n: int
    method: str
    path: str
    """Without its query."""
    hide: Callable[[str], str] = clean
    """Takes out of a text what must not be recorded, and what UTF-8 cannot hold."""
    format: Format = field(init=False)
    arrived: float = field(default_factory=time.monotonic)
    time: float = field(default_factory=time.time)
    request: bytes = b""
    """The framework's own body, decoded."""
    held: int = 0
    """Bytes of it that have come, and count for the session."""
    body: JsonObject | None = None
    model_sent: str | None = None
    pinned: dict[str, Any] = field(default_factory=dict)
    tries: Tries = field(default_factory=Tries)
    seen: Seen = field(default_factory=Seen)
    looked: int = 0
    """Events of the stream that have been read."""
    counted_by_rule: bool = False
    status: int = 0
    error: str | None = None
    fault: Fault | None = None
    exceeded: str = ""
    begun: bool = False
    """Whether a model may have begun to answer."""
    client_gone: bool = False
    first_byte: float | None = None
    size: int = 0
    """Bytes of the answer as the framework got it."""
    kept: list[bytes] | None = field(default_factory=list)
    """The answer as it is kept: the provider's, with what is hidden from the framework; None if it is too long."""
    kept_size: int = 0
    counted: bool = False
    """Whether the budgets know of the call."""
    recording: asyncio.Task[str] | None = None
    """What writes the call's line."""

    def __post_init__(self) -> None:
        self.format = find(self.method, self.path)

    @property
    def values(self) -> Mapping[str, Any]:
        """Return the request's JSON object; an empty one if there is none."""
        return self.body.values if self.body is not None else _NOTHING

    def answered(self, data: bytes) -> None:
        """Note bytes on their way to the framework."""
        self.size += len(data)
        if self.first_byte is None and data:
            self.first_byte = time.monotonic()

    def keep(self, data: bytes) -> None:
        """Note bytes of the answer that are to be kept; of a longer one than memory is worth nothing is."""
        self.kept_size += len(data)
        if self.kept_size > _LONGEST_KEPT:
            self.kept = None
        elif self.kept is not None:
            self.kept.append(data)

    def refused(self, refused: Refused) -> None:
        """Note why the call is not answered."""
        self.error, self.fault = refused.message, refused.fault
        self.begun = self.begun or refused.begun
        self.status = self.status or refused.status
        self.exceeded = refused.exceeded

    def hidden(self, words: str | None) -> str | None:
        """Return a text as it may be recorded, if there is one."""
        return self.hide(words) if words is not None else None

    def facts(self) -> dict[str, Any]:
        """Return what is known before a provider is asked, by the names of `Call`."""
        return {
            "time": stamp(self.time),
            "method": self.method,
            "path": self.hide(self.path),
            "format": self.format.name,
            "stream": asks_stream(self.values),
            "model_asked": self.hidden(text(self.values.get("model"))),
            "model_sent": self.hidden(self.model_sent),
            "parameters": parameters(self.values, self.hide),
            "pinned": self.pinned,
            "request_bytes": len(self.request),
        }


def to_call(
    draft: Draft,
    spec: SessionSpec,
    *,
    request_sha256: str | None = None,
    response_sha256: str | None = None,
    cost: Cost = _NO_COST,
) -> Call:
    """Return the line of the calls file.

    Args:
        draft: the call.
        spec: the session it was made in.
        request_sha256: digest of the request's body as it is kept.
        response_sha256: digest of the answer's body as it is kept.
        cost: its price.
    """
    usage = draft.seen.usage or Usage()
    return Call(
        run=spec.run,
        step=spec.step,
        index=spec.index,
        attempt=spec.attempt,
        n=draft.n,
        provider=spec.model.provider if spec.model is not None else "",
        model_used=draft.hidden(draft.seen.model),
        status=draft.status,
        error=draft.hidden(draft.error),
        fault=draft.fault,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        tokens_cached=usage.tokens_cached,
        tokens_cache_written=usage.tokens_cache_written,
        tokens_reasoning=usage.tokens_reasoning,
        usage_source=usage_source(draft),
        waited_seconds=round(draft.tries.waited, 6),
        retries=draft.tries.retries,
        statuses=tuple(draft.tries.statuses),
        latency_first_byte_seconds=_seconds(draft, draft.first_byte),
        latency_seconds=_seconds(draft, time.monotonic()) or 0.0,
        response_bytes=draft.size,
        request_sha256=request_sha256,
        response_sha256=response_sha256,
        bodies=_bodies(draft, spec),
        exceeded=draft.exceeded,
        cost_usd=cost.usd,
        cost_reason=cost.reason,
        cost_source=cost.source,
        finish_reason=draft.hidden(draft.seen.finish_reason),
        client_gone=draft.client_gone,
        **draft.facts(),
    )


def usage_source(draft: Draft) -> SourceOfUsage:
    """Tell where a call's tokens come from, or why there are none."""
    if draft.seen.usage is None:
        return "unknown" if draft.begun and draft.format.reads else "no answer"
    if draft.seen.partial:
        return "partial"
    return "rule" if draft.counted_by_rule else "provider"


def parameters(body: Mapping[str, Any], hide: Callable[[str], str] = clean) -> dict[str, Any]:
    """Return the request's parameters: everything short that is no part of the conversation, as it may be recorded."""
    found: dict[str, Any] = {}
    for key, value in body.items():
        if key in _NOT_PARAMETERS or (isinstance(value, str) and len(value) > _LONGEST_PARAMETER):
            continue
        written = json.dumps(value, ensure_ascii=False)
        if len(written) <= _LONGEST_PARAMETER:
            found[hide(key)] = _hidden(value, hide)
    return found


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    match value:
        case str():
            return hide(value)
        case list():
            return [_hidden(one, hide) for one in value]
        case dict():
            return {hide(name): _hidden(one, hide) for name, one in value.items()}
    return value


def stamp(moment: float) -> str:
    """Return a time, in seconds since the epoch, as UTC in ISO 8601 with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03d}Z"


def is_error(status: int) -> bool:
    """Tell whether an HTTP status is an error's."""
    return status >= _FIRST_ERROR


def _bodies(draft: Draft, spec: SessionSpec) -> Literal["full", "digest", "off"]:
    """Tell what is kept of both bodies; an answer that was too long is kept as nothing but its size."""
    if spec.model is None or draft.kept is None:
        return "off"
    return spec.model.bodies


def _seconds(draft: Draft, moment: float | None) -> float | None:
    return None if moment is None else round(moment - draft.arrived, 6)
