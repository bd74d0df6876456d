"""What a provider is given and what it gives back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Fault = Literal["framework", "provider", "runner"]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request for a chat completion."""

    n: int
    """Number of the call within its attempt, from 1."""
    body: Mapping[str, Any]
    """The request's JSON object, as the framework sent it."""

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def wants_usage(self) -> bool:
        """Tell whether the framework asked for the stream's extra chunk with usage."""
        options = self.body.get("stream_options")
        return isinstance(options, Mapping) and options.get("include_usage") is True


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer: status, headers worth passing on, and the body as it comes: a stream event by event.

    Reading the body may raise Refused. A stream always holds the chunk with its usage, if the provider can be made to send one; who relays it hides it from
    a client that did not ask.
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
    """

    def __init__(
        self, status: int, message: str, *, kind: str, fault: Fault, code: str | None = None, begun: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.fault: Fault = fault
        self.code = code
        self.begun = begun


class Provider(Protocol):
    """Answers calls of one session."""

    @property
    def name(self) -> str:
        """As in `Model.provider`."""

    @property
    def model(self) -> str:
        """Name of the model that is asked, whatever the framework asked for."""

    async def answer(self, ask: Ask) -> Reply:
        """Answer one call. Raises Refused."""
