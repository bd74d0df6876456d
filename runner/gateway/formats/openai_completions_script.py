"""Scripted answers as completions without messages, which know no tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.gateway.answers import ScriptedAnswer
from runner.gateway.formats.openai_chat_script import stated
from runner.gateway.formats.protocol import Scripted
from runner.gateway.formats.script import pieces
from runner.gateway.jsontext import encode
from runner.gateway.metering import Usage
from runner.gateway.sse import DONE, make_event


def whole(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Mapping[str, Any]:
    """Return a completion with one choice."""
    return {**_part(identity, model, answer.content or "", "stop"), "usage": stated(usage)}


def events(identity: str, model: str, answer: ScriptedAnswer, usage: Usage) -> Iterator[bytes]:
    """Yield the same as a stream, the chunk with its usage last."""
    for piece in pieces(answer.content or ""):
        yield make_event(encode(_part(identity, model, piece, None)))
    yield make_event(encode(_part(identity, model, "", "stop")))
    yield make_event(encode({**_part(identity, model, "", None), "choices": [], "usage": stated(usage)}))
    yield make_event(DONE)


def _part(identity: str, model: str, words: str, reason: str | None) -> Mapping[str, Any]:
    choice = {"index": 0, "text": words, "logprobs": None, "finish_reason": reason}
    head = {"id": f"cmpl-{identity}", "object": "text_completion", "created": 0, "model": model}
    return {**head, "choices": [choice]}


def _last(body: Mapping[str, Any]) -> str:
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        return prompt[-1] if prompt and isinstance(prompt[-1], str) else ""
    return prompt if isinstance(prompt, str) else ""


SCRIPTED = Scripted(whole=whole, events=events, last=_last, tools=lambda _: (), counted=("prompt",))
