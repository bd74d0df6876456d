"""Scripted answers as chat completions. Dates are fixed, and ids follow from the call, so that equal runs have equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.gateway.answers import ScriptedAnswer
from runner.gateway.formats.protocol import Scripted
from runner.gateway.formats.script import arguments, call_id, joined_text, last_item, pieces, tool_names
from runner.gateway.jsontext import encode
from runner.gateway.metering import Usage
from runner.gateway.sse import DONE, make_event


def whole(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Mapping[str, Any]:
    """Return a chat completion with one choice."""
    choice = {"index": 0, "message": message(identity, answer), "logprobs": None, "finish_reason": reason(answer)}
    head = {"id": f"chatcmpl-{identity}", "object": "chat.completion", "created": 0, "model": model}
    return {**head, "choices": [choice], "usage": stated(usage)}


def events(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Iterator[bytes]:
    """Yield the same as a stream, the chunk with its usage last."""
    head = {"id": f"chatcmpl-{identity}", "object": "chat.completion.chunk", "created": 0, "model": model}
    for delta in _deltas(message(identity, answer)):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield make_event(encode({**head, "choices": [choice], "usage": None}))
    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason(answer)}
    yield make_event(encode({**head, "choices": [end], "usage": None}))
    yield make_event(encode({**head, "choices": [], "usage": stated(usage)}))
    yield make_event(DONE)


def message(identity: str, answer: ScriptedAnswer) -> Mapping[str, Any]:
    """Return the assistant's message."""
    said: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": None}
    if answer.tool_calls:
        said["tool_calls"] = [
            {
                "id": call_id(identity, index, "call_"),
                "type": "function",
                "function": {"name": call.name, "arguments": arguments(call)},
            }
            for index, call in enumerate(answer.tool_calls)
        ]
    return said


def reason(answer: ScriptedAnswer) -> str:
    """Return why the model stopped."""
    return "tool_calls" if answer.tool_calls else "stop"


def stated(usage: Usage) -> Mapping[str, Any]:
    """Return usage as this API states it."""
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": (usage.tokens_in or 0) + (usage.tokens_out or 0),
        "prompt_tokens_details": {"cached_tokens": usage.tokens_cached},
        "completion_tokens_details": {"reasoning_tokens": usage.tokens_reasoning},
    }


def _deltas(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield {"role": "assistant", "content": "" if said["content"] is not None else None}
    for piece in pieces(said["content"] or ""):
        yield {"content": piece}
    for index, call in enumerate(said.get("tool_calls", ())):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {"name": function["name"], "arguments": ""}}]}
        for piece in pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


SCRIPTED = Scripted(
    whole=whole,
    events=events,
    last=lambda body: joined_text(last_item(body, "messages").get("content")),
    tools=lambda body: tool_names(body, "function"),
    counted=("messages", "tools"),
)
