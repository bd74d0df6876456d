"""Wire formats: which one a request is in."""

from __future__ import annotations

import re
from dataclasses import replace

from runner.gateway.formats import (
    anthropic_messages,
    models,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_responses,
    other,
)
from runner.gateway.formats.protocol import Format

_POSTED = {
    "/v1/chat/completions": openai_chat.FORMAT,
    "/v1/completions": openai_completions.FORMAT,
    "/v1/responses": openai_responses.FORMAT,
    "/v1/embeddings": openai_embeddings.FORMAT,
    "/v1/messages": anthropic_messages.MESSAGES,
    "/v1/messages/count_tokens": anthropic_messages.COUNT_TOKENS,
}
_DEPLOYMENT = re.compile(r"/openai(?:/v1|/deployments/[^/]+)?(?=/)")
"""What the addresses of Azure have before the path of the API."""


def api_path(path: str) -> str:
    """Return a request's path as the provider's public API has it: Azure's ways of writing it and a missing /v1 undone.

    Only the paths of known formats are changed; every other one stays what it was.
    """
    plain = _DEPLOYMENT.sub("", path, count=1) if _DEPLOYMENT.match(path) else path
    plain = "/v1/" + plain.removeprefix("/v1").strip("/")
    known = plain in _POSTED or plain == models.PATH or plain.startswith(models.PATH + "/")
    return plain if known else path


def find(method: str, path: str, *, anthropic: bool = False) -> Format:
    """Return the format of a request.

    Args:
        method: its method.
        path: its path, without a query.
        anthropic: whether it has the header anthropic-version; it tells the family where the path does not.
    """
    plain = api_path(path)
    if method == "POST" and plain in _POSTED:
        return _POSTED[plain]
    if method == "GET" and (plain == models.PATH or plain.startswith(models.PATH + "/")):
        return models.ANTHROPIC if anthropic else models.OPENAI
    chosen = other.ANTHROPIC if anthropic else other.OPENAI
    return chosen if method == "POST" else replace(chosen, see=other.see_again)
