"""Scripted answers as responses: a message item with the text, and an item for each tool call."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.gateway.answers import ScriptedAnswer
from runner.gateway.formats.protocol import Scripted
from runner.gateway.formats.script import arguments, call_id, joined_text, last_item, pieces, tool_names
from runner.gateway.jsontext import encode
from runner.gateway.metering import Usage
from runner.gateway.sse import make_event

_Item = Mapping[str, Any]


def whole(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Mapping[str, Any]:
    """Return a completed response."""
    return _response(identity, model, "completed", _items(identity, answer), _stated(usage))


def events(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Iterator[bytes]:
    """Yield the same as a stream, whose last event holds the whole response."""
    items = _items(identity, answer)
    begun = _response(identity, model, "in_progress", [], None)
    ended = _response(identity, model, "completed", items, _stated(usage))
    parts: list[Iterator[dict[str, Any]]] = [
        iter([{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]),
        *(_item_events(index, item) for index, item in enumerate(items)),
        iter([{"type": "response.completed", "response": ended}]),
    ]
    for number, content in enumerate(itertools.chain.from_iterable(parts)):
        yield make_event(encode({**content, "sequence_number": number}), content["type"])


def _response(identity: str, model: str, status: str, items: Sequence[_Item], usage: _Item | None) -> _Item:
    return {
        "id": f"resp_{identity}",
        "object": "response",
        "created_at": 0,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": items,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": usage,
    }


def _items(identity: str, answer: ScriptedAnswer) -> list[_Item]:
    items: list[_Item] = []
    if answer.content:
        part = {"type": "output_text", "text": answer.content, "annotations": []}
        head = {"id": f"msg_{identity}", "type": "message", "role": "assistant"}
        items.append({**head, "status": "completed", "content": [part]})
    for index, call in enumerate(answer.tool_calls):
        names = {"call_id": call_id(identity, index, "call_"), "name": call.name, "arguments": arguments(call)}
        head = {"id": call_id(identity, index, "fc_"), "type": "function_call"}
        items.append({**head, "status": "completed", **names})
    return items


def _stated(usage: Usage) -> _Item:
    return {
        "input_tokens": usage.tokens_in,
        "input_tokens_details": {"cached_tokens": usage.tokens_cached},
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"reasoning_tokens": usage.tokens_reasoning},
        "total_tokens": (usage.tokens_in or 0) + (usage.tokens_out or 0),
    }


def _item_events(index: int, item: _Item) -> Iterator[dict[str, Any]]:
    is_text = item["type"] == "message"
    empty: dict[str, Any] = {"content": []} if is_text else {"arguments": ""}
    opening = {**item, "status": "in_progress", **empty}
    yield {"type": "response.output_item.added", "output_index": index, "item": opening}
    yield from _text_events(index, item) if is_text else _call_events(index, item)
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _text_events(index: int, item: _Item) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    part = item["content"][0]
    yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}


def _call_events(index: int, item: _Item) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    for piece in pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    said = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **place, **said}


def _last(body: Mapping[str, Any]) -> str:
    if isinstance(body.get("input"), str):
        return str(body["input"])
    item = last_item(body, "input")
    return joined_text(item.get("content") if "content" in item else item.get("output"))


SCRIPTED = Scripted(
    whole=whole, events=events, last=_last, tools=tool_names, counted=("instructions", "input", "tools")
)
