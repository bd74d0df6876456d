"""Errors as the gateway itself writes them, in the shapes of the two families of APIs, which SDKs turn into exceptions.

Sources: the error objects of the OpenAI API reference, and the errors of Anthropic's Messages API, whose types follow
from the status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.gateway.jsontext import encode
from runner.gateway.providers.protocol import Refused
from runner.gateway.sse import make_event

_ANTHROPIC_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def openai_error(refused: Refused) -> Mapping[str, Any]:
    """Return an error object of the OpenAI API."""
    return {"error": {"message": refused.message, "type": refused.kind, "param": None, "code": refused.code}}


def anthropic_error(refused: Refused) -> Mapping[str, Any]:
    """Return an error object of the Anthropic API."""
    kind = _ANTHROPIC_KINDS.get(refused.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": refused.message}}


def openai_body(refused: Refused) -> bytes:
    """Return the body of an error reply of the OpenAI API."""
    return encode(openai_error(refused))


def anthropic_body(refused: Refused) -> bytes:
    """Return the body of an error reply of the Anthropic API."""
    return encode(anthropic_error(refused))


def openai_broken(refused: Refused) -> bytes:
    """Return the event that tells a client of the OpenAI API that its stream broke off."""
    return make_event(openai_body(refused))


def responses_broken(refused: Refused) -> bytes:
    """Return the same for a stream of the Responses API: its own `error` event, with the object SDKs look for too."""
    own = {"type": "error", "code": refused.code, "message": refused.message, "param": None, "sequence_number": 0}
    return make_event(encode({**own, **openai_error(refused)}), "error")


def anthropic_broken(refused: Refused) -> bytes:
    """Return the event that tells a client of the Anthropic API that its stream broke off."""
    return make_event(anthropic_body(refused), "error")
