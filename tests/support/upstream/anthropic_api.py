"""Answers in the format of Anthropic's Messages API, whole and as events. Shapes follow its public API reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from support.upstream.said import MODEL, Said

Json = dict[str, Any]


def message(said: Said) -> Json:
    """Return a message."""
    content: list[Json] = [{"type": "text", "text": said.text}]
    content += (
        {"type": "tool_use", "id": _tool_id(said, index), "name": tool.name, "input": json.loads(tool.arguments)}
        for index, tool in enumerate(said.tools)
    )
    usage = {**_usage_in(said), "output_tokens": said.usage.tokens_out}
    return {**_head(said), "content": content, "stop_reason": _reason(said), "stop_sequence": None, "usage": usage}


def message_events(said: Said) -> Iterator[tuple[str, str]]:
    """Yield a message's events: name and data."""
    for event in _events(said):
        yield event["type"], json.dumps(event, ensure_ascii=False)


def _events(said: Said) -> Iterator[Json]:
    start = {**_head(said), "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": {**start, "usage": {**_usage_in(said), "output_tokens": 1}}}
    yield {"type": "ping"}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for piece in said.pieces():
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}
    for index, tool in enumerate(said.tools):
        block = {"type": "tool_use", "id": _tool_id(said, index), "name": tool.name, "input": {}}
        yield {"type": "content_block_start", "index": index + 1, "content_block": block}
        for start_at in range(0, len(tool.arguments), 7):
            delta = {"type": "input_json_delta", "partial_json": tool.arguments[start_at : start_at + 7]}
            yield {"type": "content_block_delta", "index": index + 1, "delta": delta}
        yield {"type": "content_block_stop", "index": index + 1}
    last = {"stop_reason": _reason(said), "stop_sequence": None}
    yield {"type": "message_delta", "delta": last, "usage": {"output_tokens": said.usage.tokens_out}}
    yield {"type": "message_stop"}


def _head(said: Said) -> Json:
    return {"id": f"msg_{said.number}", "type": "message", "role": "assistant", "model": MODEL}


def _usage_in(said: Said) -> Json:
    """Return what the request took; what a cache had, or got, is stated beside the rest and not in it."""
    usage = said.usage
    return {
        "input_tokens": usage.tokens_in - usage.tokens_cached - usage.tokens_cache_written,
        "cache_read_input_tokens": usage.tokens_cached,
        "cache_creation_input_tokens": usage.tokens_cache_written,
    }


def _reason(said: Said) -> str:
    return "tool_use" if said.tools else "end_turn"


def _tool_id(said: Said, index: int) -> str:
    return f"toolu_{said.number}_{index}"
