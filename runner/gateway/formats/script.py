"""What all formats share in giving a scripted answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from runner.gateway.answers import ScriptedAnswer, ToolCall


def pieces(words: str, least: int = 3) -> Iterator[str]:
    """Cut a text into several pieces, whatever its length, but not into more than about 64."""
    size = max(1, len(words) // 64, min(32, len(words) // least))
    for start in range(0, len(words), size):
        yield words[start : start + size]


def arguments(call: ToolCall) -> str:
    """Return a tool call's arguments as JSON."""
    return json.dumps(call.arguments, ensure_ascii=False)


def call_id(identity: str, index: int, prefix: str) -> str:
    """Return the id of an answer's tool call."""
    return f"{prefix}{identity[:20]}{index:02d}"


def joined_text(content: object) -> str:
    """Return the text of a message's content: itself, or of its parts the text ones, those of tool results too."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(_part_text(part) for part in content if isinstance(part, Mapping))


def last_item(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the last of a request's messages or items; an empty one if there is none."""
    items = body.get(name)
    last = items[-1] if isinstance(items, list) and items else None
    return last if isinstance(last, Mapping) else {}


def tool_names(body: Mapping[str, Any], inside: str = "") -> list[str]:
    """Return the names of the tools a request offers, which stand in each tool, or in a member of it."""
    tools = body.get("tools")
    every = [tool for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []
    holders = [tool.get(inside) for tool in every] if inside else every
    return [str(holder["name"]) for holder in holders if isinstance(holder, Mapping) and "name" in holder]


def said(answer: ScriptedAnswer) -> str:
    """Return all an answer says: what its tokens are counted of."""
    return "".join([answer.content or "", *(call.name + arguments(call) for call in answer.tool_calls)])


def _part_text(part: Mapping[str, Any]) -> str:
    if "text" in part:
        return str(part["text"])
    return joined_text(part.get("content") if "content" in part else part.get("output"))
