"""Provider `scripted`: prepared answers, in order, for machines without a model and for tests that must repeat.

Usage that an answer does not state is an estimate by rule: one token per four bytes, rounded up; of the request's
messages and tools as compact JSON for tokens_in, of the answer's text and of its tool calls' names and arguments for
tokens_out; nothing is ever cached.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.gateway.answers import ScriptedAnswer
from runner.gateway.providers.protocol import Ask, Refused, Reply
from runner.gateway.sse import DONE, make_event
from runner.gateway.wire import chunks, completion, encode

MODEL = "scripted"
_BYTES_PER_TOKEN = 4
_SHOWN = 200
_SHOWN_PARTS = 4
"""images/<framework>/answers/<scenario>.yaml."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """Answers to one attempt's calls, and how to name them in a message."""

    file: Path
    step: str
    answers: Sequence[ScriptedAnswer]

    def where(self, n: int) -> str:
        return f"{self.shown}, step {self.step}, answer {n}"

    @property
    def shown(self) -> str:
        """Return the file's name for messages, which frameworks and records of other machines see."""
        return "/".join(self.file.parts[-_SHOWN_PARTS:])


@dataclass(frozen=True, kw_only=True)
class ScriptedProvider:
    """Answers the n-th call with the script's n-th answer."""

    script: Script
    name: str = "scripted"
    model: str = MODEL

    async def answer(self, ask: Ask) -> Reply:
        answer = pick_answer(self.script, ask)
        identity = hashlib.sha256(f"{self.script.step}/{ask.n}".encode()).hexdigest()[:24]
        message = make_message(answer, identity)
        usage = count_usage(answer, ask.body)
        parts = (f"chatcmpl-{identity}", MODEL, message, "tool_calls" if answer.tool_calls else "stop", usage)
        events = [*(encode(chunk) for chunk in chunks(*parts)), DONE] if ask.stream else []
        return Reply(
            status=200,
            headers={"Content-Type": "text/event-stream" if ask.stream else "application/json"},
            body=_each(make_event(event) for event in events) if ask.stream else _each([encode(completion(*parts))]),
            stream=ask.stream,
            counted_by_rule=True,
        )


async def _each(pieces: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


def pick_answer(script: Script, ask: Ask) -> ScriptedAnswer:
    """Return the answer to this call.

    Raises:
        Refused: if there is none left, or it does not fit the request: the script and the framework drifted apart.
    """
    if ask.n > len(script.answers):
        raise _drift(
            f"scripted answers exhausted: call {ask.n} of step {script.step}, but {script.shown} has {len(script.answers)}"
        )
    answer = script.answers[ask.n - 1]
    text = last_message(ask.body)
    if answer.expect is not None and not re.search(answer.expect, text, re.MULTILINE):
        raise _drift(
            f"scripted answer does not fit ({script.where(ask.n)}): "
            f"{answer.expect!r} is not in the request's last message, which ends {text[-_SHOWN:]!r}"
        )
    offered = _offered_tools(ask.body)
    unknown = [call.name for call in answer.tool_calls if call.name not in offered]
    if unknown:
        raise _drift(
            f"scripted answer does not fit ({script.where(ask.n)}): it uses the tool {unknown[0]!r}, "
            f"but the request offers {', '.join(offered) or 'none'}"
        )
    return answer


def _drift(message: str) -> Refused:
    return Refused(400, message, kind="invalid_request_error", code="scripted_answers", fault="runner")


def last_message(body: Mapping[str, Any]) -> str:
    """Return the text of the request's last message; of parts, the text ones."""
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, Mapping) else None
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def make_message(answer: ScriptedAnswer, identity: str) -> Mapping[str, Any]:
    """Return the assistant's message; ids of tool calls follow from `identity`."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": f"call_{identity[:20]}{index:02d}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for index, call in enumerate(answer.tool_calls)
        ]
    return message


def count_usage(answer: ScriptedAnswer, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the usage an answer states, or an estimate by the rule above."""
    if answer.usage is not None:
        tokens_in, tokens_out = answer.usage.tokens_in, answer.usage.tokens_out
        cached = answer.usage.tokens_cached
    else:
        tokens_in = _tokens(encode([body.get("messages"), body.get("tools")]))
        said = [answer.content or "", *(call.name + json.dumps(call.arguments) for call in answer.tool_calls)]
        tokens_out, cached = _tokens("".join(said).encode()), 0
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _tokens(data: bytes) -> int:
    return -(-len(data) // _BYTES_PER_TOKEN)


def _offered_tools(body: Mapping[str, Any]) -> list[str]:
    tools = body.get("tools")
    functions = [tool.get("function") for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []
    return [str(function.get("name")) for function in functions if isinstance(function, Mapping)]
