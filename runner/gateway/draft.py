"""A call while it is under way: facts as they become known, until they make a line of the calls file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.gateway.calls import Call
from runner.gateway.metering import Seen, Usage
from runner.gateway.providers.protocol import Fault, Refused
from runner.gateway.session import SessionSpec

_NOT_PARAMETERS = {"messages", "tools", "functions", "model", "stream", "stream_options", "user", "input", "prompt"}
_LONGEST_PARAMETER = 1024
_FIRST_ERROR = 400


@dataclass(kw_only=True)
class Draft:
    """Holds what is known of one call."""

    n: int
    method: str
    path: str
    arrived: float = field(default_factory=time.monotonic)
    time: float = field(default_factory=time.time)
    body: Mapping[str, Any] = field(default_factory=dict)
    request: bytes = b""
    model_sent: str | None = None
    seen: Seen = field(default_factory=Seen)
    counted_by_rule: bool = False
    status: int = 0
    error: str | None = None
    fault: Fault | None = None
    begun: bool = False
    """Whether a model may have begun to answer."""
    client_gone: bool = False
    first_byte: float | None = None
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    recorded: bool = False

    def answered(self, data: bytes) -> None:
        """Note bytes on their way to the framework."""
        self.size += len(data)
        self.digest.update(data)
        if self.first_byte is None and data:
            self.first_byte = time.monotonic()

    def refused(self, refused: Refused) -> None:
        """Note why the call is not answered."""
        self.error, self.fault = refused.message, refused.fault
        self.begun = self.begun or refused.begun
        self.status = self.status or refused.status


def to_call(draft: Draft, spec: SessionSpec) -> Call:
    """Return the line of the calls file."""
    usage = draft.seen.usage or Usage()
    return Call(
        time=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(draft.time)) + f".{int(draft.time * 1000) % 1000:03d}Z",
        run=spec.run,
        step=spec.step,
        index=spec.index,
        attempt=spec.attempt,
        n=draft.n,
        provider=spec.model.provider,
        path=draft.path,
        method=draft.method,
        stream=draft.body.get("stream") is True,
        model_asked=asked if isinstance(asked := draft.body.get("model"), str) else None,
        model_sent=draft.model_sent,
        model_used=draft.seen.model,
        parameters=parameters(draft.body),
        status=draft.status,
        error=draft.error,
        fault=draft.fault,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        tokens_cached=usage.tokens_cached,
        tokens_reasoning=usage.tokens_reasoning,
        usage_source=usage_source(draft),
        latency_first_byte_seconds=_seconds(draft, draft.first_byte),
        latency_seconds=_seconds(draft, time.monotonic()) or 0.0,
        request_bytes=len(draft.request),
        response_bytes=draft.size,
        request_sha256=hashlib.sha256(draft.request).hexdigest(),
        response_sha256=draft.digest.hexdigest(),
        cost_usd=None,
        cost_reason="scripted model" if spec.model.provider == "scripted" else "no price is known for the model",
        finish_reason=draft.seen.finish_reason,
        client_gone=draft.client_gone,
    )


def usage_source(draft: Draft) -> Literal["provider", "rule", "no answer", "unknown"]:
    """Tell where a call's tokens come from, or why there are none."""
    if draft.seen.usage is not None:
        return "rule" if draft.counted_by_rule else "provider"
    return "unknown" if draft.begun else "no answer"


def parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request's parameters: everything short that is no part of the conversation."""
    return {
        key: value
        for key, value in body.items()
        if key not in _NOT_PARAMETERS and len(json.dumps(value)) <= _LONGEST_PARAMETER
    }


def is_error(status: int) -> bool:
    """Tell whether an HTTP status is an error's."""
    return status >= _FIRST_ERROR


def _seconds(draft: Draft, moment: float | None) -> float | None:
    return None if moment is None else round(moment - draft.arrived, 6)
