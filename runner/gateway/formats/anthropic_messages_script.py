"""Scripted answers as messages: a block with the text, and a block for each tool call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.gateway.answers import ScriptedAnswer
from runner.gateway.formats.protocol import Scripted
from runner.gateway.formats.script import arguments, call_id, joined_text, last_item, pieces, tool_names
from runner.gateway.jsontext import encode
from runner.gateway.metering import Usage
from runner.gateway.sse import make_event


def whole(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Mapping[str, Any]:
    """Return a message."""
    end = {"stop_reason": _reason(answer), "stop_sequence": None}
    return {**_head(identity, model), "content": _blocks(identity, answer), **end, "usage": _stated(usage)}


def events(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Iterator[bytes]:
    """Yield the same as a stream."""
    for content in _contents(identity, model, answer, usage):
        yield make_event(encode(content), content["type"])


def _contents(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Iterator[Mapping[str, Any]]:
    stated = _stated(usage)
    begun = {**_head(identity, model), "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": {**begun, "usage": {**stated, "output_tokens": 0}}}
    yield {"type": "ping"}
    for index, block in enumerate(_blocks(identity, answer)):
        if block["type"] == "text":
            empty, deltas = (
                {**block, "text": ""},
                [{"type": "text_delta", "text": one} for one in pieces(block["text"])],
            )
        else:
            written = arguments(answer.tool_calls[index - bool(answer.content)])
            empty = {**block, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": one} for one in pieces(written)]
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": _reason(answer), "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": usage.tokens_out}}
    yield {"type": "message_stop"}


def _head(identity: str, model: str) -> Mapping[str, Any]:
    return {"id": f"msg_{identity}", "type": "message", "role": "assistant", "model": model}


def _blocks(identity: str, answer: ScriptedAnswer) -> list[Mapping[str, Any]]:
    said: list[Mapping[str, Any]] = [{"type": "text", "text": answer.content}] if answer.content else []
    used = [
        {"type": "tool_use", "id": call_id(identity, index, "toolu_"), "name": call.name, "input": call.arguments}
        for index, call in enumerate(answer.tool_calls)
    ]
    return [*said, *used]


def _reason(answer: ScriptedAnswer) -> str:
    return "tool_use" if answer.tool_calls else "end_turn"


def _stated(usage: Usage) -> Mapping[str, Any]:
    """Return usage as this API states it: the request's tokens without the cached ones."""
    cached = usage.tokens_cached or 0
    return {
        "input_tokens": (usage.tokens_in or 0) - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.tokens_out,
    }


SCRIPTED = Scripted(
    whole=whole,
    events=events,
    last=lambda body: joined_text(last_item(body, "messages").get("content")),
    tools=tool_names,
    counted=("system", "messages", "tools"),
)
