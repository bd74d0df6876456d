"""Objects of the OpenAI API as the gateway itself writes them: errors, completions, chunks, the list of models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def encode(content: object) -> bytes:
    """Write JSON as UTF-8, without spaces, keys in the order given."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def error_body(message: str, kind: str, code: str | None) -> Mapping[str, Any]:
    """Return an error in the provider's shape, which SDKs turn into their own exceptions."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models_body(names: Sequence[str]) -> Mapping[str, Any]:
    """Return the list of models."""
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "runner"} for name in names],
    }


def completion(
    identity: str, model: str, message: Mapping[str, Any], finish_reason: str, usage: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return a whole chat completion with one choice; `created` is fixed so that equal runs have equal bytes."""
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": identity,
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def chunks(
    identity: str, model: str, message: Mapping[str, Any], finish_reason: str, usage: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield the chunks of the same completion as a stream has them, the chunk with its usage last."""
    head = {"id": identity, "object": "chat.completion.chunk", "created": 0, "model": model}

    def chunk(delta: Mapping[str, Any], reason: str | None = None) -> Mapping[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**head, "choices": [choice], "usage": None}

    yield chunk({"role": "assistant", "content": "" if message["content"] is not None else None})
    for piece in _pieces(message["content"] or ""):
        yield chunk({"content": piece})
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        opening = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
        yield chunk({"tool_calls": [opening]})
        for piece in _pieces(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, finish_reason)
    yield {**head, "choices": [], "usage": usage}


def _pieces(text: str, least: int = 3) -> Iterator[str]:
    """Cut a text into several pieces, whatever its length, but not into more than about 64."""
    size = max(1, len(text) // 64, min(32, len(text) // least))
    for start in range(0, len(text), size):
        yield text[start : start + size]
