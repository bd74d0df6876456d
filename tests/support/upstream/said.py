"""What the upstream says and what it states to have used: values, whatever the wire format."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_COMPACT: Mapping[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}
_IMAGE = re.compile(r'base64,([^"]+)"|"data": "([^"]+)"')
"""An image in a message, in the formats of either vendor."""
MODEL = "upstream-model-2"
"""What it says answers, whatever it was asked for."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one call; those in include cached and newly cached ones, those out include reasoning."""

    tokens_in: int
    tokens_out: int
    tokens_cached: int = 0
    tokens_cache_written: int = 0
    tokens_reasoning: int = 0


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool the model asks for."""

    name: str
    arguments: str
    """As JSON."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer."""

    number: int
    text: str
    tools: Sequence[Tool]
    usage: Usage

    def pieces(self) -> list[str]:
        """Return the text in pieces as a model would stream them."""
        return [self.text[start : start + 5] for start in range(0, len(self.text), 5)]


@dataclass(kw_only=True)
class Book:
    """Holds what was stated, call by call, and answers from a script if there is one."""

    chance: random.Random
    script: Sequence[Mapping[str, Any]] = ()
    """Answers in order, each with content, tool_calls and usage as a file of scripted answers has them."""
    lines: list[dict[str, Any]] = field(default_factory=list)
    answers: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, **facts: Any) -> None:
        """Write down a call that is not answered."""
        with self.lock:
            self.lines.append(facts)

    def say(self, path: str, body: Mapping[str, Any], **facts: Any) -> Said:
        """Answer a request and write down what is stated for it. No two answers have the same number of tokens in.

        Args:
            path: the format's, like `/v1/messages`.
            body: the request.
            facts: what else is to be written down.
        """
        with self.lock:
            self.answers += 1
            said = self._scripted(body) if self.script else self._random(path, body)
            stream = body.get("stream") is True
            facts |= {"path": path, "status": 200, "stream": stream, "number": said.number}
            self.lines.append({**facts, "text": said.text, **asdict(said.usage)})
            return said

    def _random(self, path: str, body: Mapping[str, Any]) -> Said:
        number, chance = self.answers, self.chance
        tokens_in = 1000 * number + chance.randrange(1000)
        cached = chance.choice((0, chance.randrange(tokens_in // 2)))
        tokens_out = chance.randrange(1, 5000)
        usage = Usage(
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            tokens_cached=cached,
            tokens_cache_written=chance.choice((0, chance.randrange(tokens_in - cached))),
            # Messages do not tell it apart.
            tokens_reasoning=0 if path == "/v1/messages" else chance.choice((0, chance.randrange(tokens_out))),
        )
        tools = (Tool(name=_first_tool(body), arguments='{"city": "Z\\u00fcrich \\"am See\\""}'),)
        said = f"answer {number} \u2013 {_heard(body)} \u2026"
        return Said(
            number=number,
            text=said,
            tools=tools if body.get("tools") else (),
            usage=Usage(tokens_in=tokens_in, tokens_out=0) if path == "/v1/embeddings" else usage,
        )

    def _scripted(self, body: Mapping[str, Any]) -> Said:
        answer = self.script[self.answers - 1]
        tools = [
            Tool(name=one["name"], arguments=json.dumps(one.get("arguments", {}), ensure_ascii=False))
            for one in answer["tool_calls"] or ()
        ]
        said = answer["content"] or ""
        usage = answer["usage"] or {
            "tokens_in": _by_rule(json.dumps([body.get("messages"), body.get("tools")], **_COMPACT)),
            "tokens_out": _by_rule(said + "".join(tool.name + tool.arguments for tool in tools)),
        }
        return Said(number=self.answers, text=said, tools=tools, usage=Usage(**usage))


def _by_rule(text: str) -> int:
    """Return a number of tokens as the rule of the scripted model has it: one for four bytes."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def _first_tool(body: Mapping[str, Any]) -> str:
    tools = body.get("tools") or [{}]
    first = tools[0]
    return str(first.get("name") or first.get("function", {}).get("name", ""))


def _heard(body: Mapping[str, Any]) -> str:
    """Return how much was shown, so that whoever asked sees that all of it arrived."""
    shown = json.dumps(body.get("messages", body.get("input", body.get("prompt"))))
    images = _IMAGE.findall(shown)
    return " ".join(f"image of {len(url or data)}" for url, data in images) or "heard"
