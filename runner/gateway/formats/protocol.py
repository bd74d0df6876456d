"""What a wire format is: pure functions that read, change and write the requests and answers of one kind of call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.gateway.answers import ScriptedAnswer
from runner.gateway.metering import Seen, Usage
from runner.gateway.providers.protocol import Refused
from runner.gateway.sse import Event
from runner.spec.model import Sampling

Family = Literal["openai", "anthropic"]
Body = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """How a scripted answer is given in a format."""

    whole: Callable[[str, str, ScriptedAnswer, Usage], Body]
    """From an identity of 24 hexadecimal digits, the model's name, the answer and its usage: the body."""
    events: Callable[[str, str, ScriptedAnswer, Usage], Iterator[bytes]]
    """The same as a stream, its usage included."""
    last: Callable[[Body], str]
    """Text of a request's last message; of parts, the text ones."""
    tools: Callable[[Body], Sequence[str]]
    """Names of the tools that a request offers."""
    counted: tuple[str, ...]
    """Members of a request whose length as compact JSON makes its tokens by rule."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A wire format. A member it does not set is one that its calls have no need of."""

    name: str
    family: Family
    wants: str = "a JSON object"
    """What its requests are, in words."""
    fits: Callable[[Body], bool] = lambda _: True
    """Whether a JSON object is such a request."""
    reads: bool = True
    """Whether requests have to be understood; what is not is passed on as it came."""
    takes_model: bool = True
    """Whether the experiment's model answers; an embedding is another model's, whatever the experiment's is."""
    pins: Callable[[Body, Sampling, int], dict[str, Any]] = lambda _body, _sampling, _seed: {}
    """Members to put into a request so that it is sampled as configured; the last argument is the repetition's seed."""
    usage_asked: Callable[[Body], dict[str, Any]] = lambda _: {}
    """Members to put into a request so that its answer states usage."""
    see: Callable[[Seen, Body], Seen] = lambda seen, _: seen
    """Add what a whole answer says; what it does not say stays as it was."""
    see_event: Callable[[Seen, Event], Seen] = lambda seen, _: seen
    """Add what an event of a stream says."""
    matters: Callable[[bytes, int], re.Match[bytes] | None] = lambda _piece, _start: None
    """Find the next place in a stream's bytes that may say something; a quick look, which may be wrong about a yes."""
    hidden: Callable[[Event, Body], bool] = lambda _event, _body: False
    """Whether an event is there because the gateway asked for it, and not the framework whose request this is."""
    ends: bool = True
    """Whether a stream says that it is complete, so that one which does not has broken off."""
    error: Callable[[Refused], bytes]
    """Body of an error reply."""
    broken: Callable[[Refused], bytes]
    """Event that says that a stream broke off."""
    scripted: Scripted | None = None
    """How the scripted model speaks it; None: it does not."""


def asks_stream(body: Body) -> bool:
    """Tell whether a request asks for a stream; every format says it in this way."""
    return body.get("stream") is True
