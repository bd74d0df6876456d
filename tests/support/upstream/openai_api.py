"""Answers in the formats of the OpenAI API, whole and as events: chat completions, completions, responses, embeddings.

Shapes follow the public API reference.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from support.upstream.said import MODEL, Said, Usage

Json = dict[str, Any]


def chat_usage(usage: Usage) -> Json:
    """Return usage as chat completions state it."""
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": usage.tokens_in + usage.tokens_out,
        "prompt_tokens_details": {
            "cached_tokens": usage.tokens_cached,
            "cache_write_tokens": usage.tokens_cache_written,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.tokens_reasoning, "audio_tokens": 0},
    }


def chat(said: Said) -> Json:
    """Return a chat completion."""
    message: Json = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.tools:
        message["tool_calls"] = [
            {"id": _call_id(said, index), "type": "function", "function": _function(tool.name, tool.arguments)}
            for index, tool in enumerate(said.tools)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(said)}
    return {**_head(said, "chatcmpl", "chat.completion"), "choices": [choice], "usage": chat_usage(said.usage)}


def chat_events(said: Said, body: Mapping[str, Any]) -> Iterator[str]:
    """Yield a chat completion's chunks."""
    head = _head(said, "chatcmpl", "chat.completion.chunk")
    deltas: list[Json] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in said.pieces())]
    for index, tool in enumerate(said.tools):
        start: Json = {"index": index, "id": _call_id(said, index), "type": "function"}
        deltas.append({"tool_calls": [{**start, "function": _function(tool.name, "")}]})
        deltas += (
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in _cut(tool.arguments)
        )
    choices: list[Json] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": _reason(said)})
    yield from _chunks(head, choices, said.usage, body)


def completion(said: Said) -> Json:
    """Return a completion of the older kind."""
    choice = {"index": 0, "text": said.text, "logprobs": None, "finish_reason": "stop"}
    return {**_head(said, "cmpl", "text_completion"), "choices": [choice], "usage": chat_usage(said.usage)}


def completion_events(said: Said, body: Mapping[str, Any]) -> Iterator[str]:
    """Yield a completion's chunks."""
    choices: list[Json] = [
        {"index": 0, "text": piece, "logprobs": None, "finish_reason": None} for piece in said.pieces()
    ]
    choices.append({"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"})
    yield from _chunks(_head(said, "cmpl", "text_completion"), choices, said.usage, body)


def embeddings(said: Said, body: Mapping[str, Any]) -> Json:
    """Return one embedding for each input, as base64 if that is asked for."""
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    numbers = [0.25, -0.5, float(said.number)]
    packed: Any = numbers
    if body.get("encoding_format") == "base64":
        packed = base64.b64encode(struct.pack("<3f", *numbers)).decode()
    data = [{"object": "embedding", "index": index, "embedding": packed} for index in range(len(inputs))]
    usage = {"prompt_tokens": said.usage.tokens_in, "total_tokens": said.usage.tokens_in}
    return {"object": "list", "data": data, "model": MODEL, "usage": usage}


def response(said: Said, status: str = "completed") -> Json:
    """Return a response; one that is in progress has neither output nor usage yet."""
    done = status == "completed"
    usage = said.usage
    stated: Json = {
        "input_tokens": usage.tokens_in,
        "input_tokens_details": {
            "cached_tokens": usage.tokens_cached,
            "cache_write_tokens": usage.tokens_cache_written,
        },
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"reasoning_tokens": usage.tokens_reasoning},
        "total_tokens": usage.tokens_in + usage.tokens_out,
    }
    return {
        "id": f"resp_{said.number}",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": MODEL,
        "output": [_item(said, "completed")] if done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": stated if done else None,
    }


def response_events(said: Said) -> Iterator[str]:
    """Yield a response's events as their data; each has its name in `type`."""
    for number, event in enumerate(_response_events(said)):
        yield json.dumps({**event, "sequence_number": number}, ensure_ascii=False)


def _response_events(said: Said) -> Iterator[Json]:
    yield {"type": "response.created", "response": response(said, "in_progress")}
    yield {"type": "response.in_progress", "response": response(said, "in_progress")}
    yield {"type": "response.output_item.added", "output_index": 0, "item": _item(said, "in_progress")}
    place: Json = {"item_id": _item(said, "")["id"], "output_index": 0}
    if said.tools:
        words = said.tools[0].arguments
        for piece in _cut(words):
            yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
        yield {"type": "response.function_call_arguments.done", **place, "arguments": words, "name": said.tools[0].name}
    else:
        part = {**place, "content_index": 0}
        text: Json = {"type": "output_text", "text": "", "annotations": []}
        yield {"type": "response.content_part.added", **part, "part": text}
        for piece in said.pieces():
            yield {"type": "response.output_text.delta", **part, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **part, "text": said.text, "logprobs": []}
        yield {"type": "response.content_part.done", **part, "part": {**text, "text": said.text}}
    yield {"type": "response.output_item.done", "output_index": 0, "item": _item(said, "completed")}
    yield {"type": "response.completed", "response": response(said)}


def _item(said: Said, status: str) -> Json:
    """Return what a response puts out: a function call if there is one, else a message."""
    done = status == "completed"
    if said.tools:
        tool = said.tools[0]
        call = {"id": f"fc_{said.number}", "type": "function_call", "status": status, "call_id": f"call_{said.number}"}
        return {**call, "name": tool.name, "arguments": tool.arguments if done else ""}
    content = [{"type": "output_text", "text": said.text, "annotations": []}] if done else []
    return {"id": f"msg_{said.number}", "type": "message", "status": status, "role": "assistant", "content": content}


def _chunks(head: Json, choices: list[Json], usage: Usage, body: Mapping[str, Any]) -> Iterator[str]:
    """Yield chunks; with include_usage each has `usage`, and there is one more at the end."""
    told = bool((body.get("stream_options") or {}).get("include_usage"))
    for choice in choices:
        yield json.dumps({**head, "choices": [choice], **({"usage": None} if told else {})}, ensure_ascii=False)
    if told:
        yield json.dumps({**head, "choices": [], "usage": chat_usage(usage)})
    yield "[DONE]"


def _head(said: Said, prefix: str, kind: str) -> Json:
    return {"id": f"{prefix}-{said.number}", "object": kind, "created": 1, "model": MODEL}


def _call_id(said: Said, index: int) -> str:
    """Return a tool call's id; all have the same length, whatever the number, as vendors' have."""
    return f"call_{said.number:020}{index:02}"


def _function(name: str, arguments: str) -> Json:
    return {"name": name, "arguments": arguments}


def _reason(said: Said) -> str:
    return "tool_calls" if said.tools else "stop"


def _cut(text: str) -> list[str]:
    return [text[start : start + 7] for start in range(0, len(text), 7)]
