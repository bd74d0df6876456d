"""The models there are: `GET /v1/models` and `GET /v1/models/{id}`, which the gateway answers itself.

Source: the API references of OpenAI, object model, and of Anthropic, object model info, whose clients say which they are
by the header anthropic-version. Dates are fixed so that equal runs have equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runner.gateway.formats import other

OPENAI = replace(other.OPENAI, name="models")
ANTHROPIC = replace(other.ANTHROPIC, name="models")
PATH = "/v1/models"


def listed(names: Sequence[str], *, anthropic: bool) -> Mapping[str, Any]:
    """Return the list of models with these names."""
    every = [one(name, anthropic=anthropic) for name in names]
    if not anthropic:
        return {"object": "list", "data": every}
    return {"data": every, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def one(name: str, *, anthropic: bool) -> Mapping[str, Any]:
    """Return what there is to say about a model."""
    if anthropic:
        return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
    return {"id": name, "object": "model", "created": 0, "owned_by": "runner"}
