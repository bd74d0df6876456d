"""What a provider is given and what it gives back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Fault = Literal["framework", "provider", "runner"]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request, as it is to be sent: the experiment's model and its pinned parameters are in it already."""

    n: int
    """Number of the answered call within its attempt, from 1."""
    method: str
    path: str
    """Path with its query, like `/v1/chat/completions?x=1`; always the one of the provider's public API."""
    format: str
    """Name of the wire format, like `openai-chat`; `other` for what is passed on unread."""
    headers: Mapping[str, str]
    """Headers worth passing on, without any secret; their names in lower case."""
    content: bytes
    """Body to send."""
    original: Mapping[str, Any]
    """The JSON object in the body as the framework sent it; empty if there is none."""
    received: bytes = b""
    """The body as the framework sent it, decoded."""
    step: str = ""
    stream: bool = False
    """Whether the answer is asked for as a stream."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer: status, headers worth passing on, and the body as it comes: a stream in whole events.

    Reading the body may raise Refused. A stream holds the chunk with its usage, if the provider can be made to send
    one; who relays it hides it from a client that did not ask. A piece of a stream is one event or several.
    """

    status: int
    headers: Mapping[str, str]
    body: AsyncGenerator[bytes, None]
    stream: bool
    """Whether the body is a stream of events."""
    counted_by_rule: bool = False
    """Whether the usage in it was counted here and not by a model."""
    fault: Fault = "provider"
    """Whose doing it is if the status is an error."""


class Refused(Exception):
    """The call cannot be answered; the message goes to the framework, in the provider's shape.

    Args:
        status: HTTP status.
        message: what went wrong, in a sentence.
        kind: the provider's word for this sort of error.
        fault: whose doing it is.
        code: the provider's word for this very error.
        begun: whether a model may have begun to answer, so that tokens may have been used.
        retry: whether a further try may succeed; None where only the status tells.
        after: seconds after which the provider wants to be asked again.
        exceeded: which budget the call is refused for, in a sentence; empty if none.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str,
        fault: Fault,
        code: str | None = None,
        begun: bool = False,
        retry: bool | None = None,
        after: float | None = None,
        exceeded: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.fault: Fault = fault
        self.code = code
        self.begun = begun
        self.retry = retry
        self.after = after
        self.exceeded = exceeded


class Provider(Protocol):
    """Answers calls of one session."""

    @property
    def name(self) -> str:
        """As in `Model.provider`."""

    async def answer(self, ask: Ask) -> Reply:
        """Answer one call, in one try. Raises Refused."""
