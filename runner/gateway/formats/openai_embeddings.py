"""Embeddings of the OpenAI API: `POST /v1/embeddings`.

Source: the API reference of OpenAI, object list of embeddings. Its `usage` has `prompt_tokens` and no answer's tokens,
since there is no answer but numbers; caches and reasoning have no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.gateway.formats.protocol import Format
from runner.gateway.metering import NOTHING, Seen, count, error_message, inner, text
from runner.gateway.wire import openai_body, openai_broken


def see(seen: Seen, content: Mapping[str, Any]) -> Seen:
    """Add what a list of embeddings says."""
    tokens_in = count(inner(content, "usage").get("prompt_tokens"))
    return replace(
        seen,
        model=text(content.get("model")) or seen.model,
        usage=replace(NOTHING, tokens_in=tokens_in) if tokens_in is not None else seen.usage,
        error=error_message(content) or seen.error,
    )


FORMAT = Format(
    name="openai-embeddings",
    family="openai",
    wants="a JSON object with an input",
    fits=lambda body: "input" in body,
    takes_model=False,
    see=see,
    error=openai_body,
    broken=openai_broken,
)
