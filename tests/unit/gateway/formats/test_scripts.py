"""Scripted answers in each format: a stream says what the whole says, and both are read as any provider's answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.gateway.answers import ScriptedAnswer, ScriptedUsage, ToolCall
from runner.gateway.formats import find
from runner.gateway.formats.protocol import Format, Scripted
from runner.gateway.jsontext import encode
from runner.gateway.metering import NOTHING, Seen, Usage
from runner.gateway.providers.scripted import count_usage
from runner.gateway.sse import Event

IDENTITY = "0123456789abcdef01234567"
USAGE = Usage(tokens_in=1000, tokens_out=7, tokens_cached=900, tokens_cache_written=0, tokens_reasoning=0)
TALK = ScriptedAnswer(
    content="I look around, é.",
    tool_calls=(ToolCall(name="bash", arguments={"command": "ls 'é'"}), ToolCall(name="stop")),
)
PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]


def scripted(path: str) -> tuple[Format, Scripted]:
    """Return a format that the scripted model speaks."""
    wire = find("POST", path)
    assert wire.scripted is not None
    return wire, wire.scripted


@pytest.mark.parametrize("path", PATHS)
def test_usage_of_both_ways_is_read_alike(path: str) -> None:
    """What a scripted answer states is read from its whole and from its stream as it was put in."""
    wire, script = scripted(path)
    whole = wire.see(Seen(), json.loads(encode(script.whole(IDENTITY, "m1", TALK, USAGE))))
    streamed = Seen()
    for raw in script.events(IDENTITY, "m1", TALK, USAGE):
        if streamed.model is None or wire.matters(raw, 0):
            streamed = wire.see_event(streamed, Event(raw=raw))
    assert streamed.done
    assert not streamed.partial
    for seen in (whole, streamed):
        stated = (seen.usage.tokens_in, seen.usage.tokens_out, seen.usage.tokens_cached) if seen.usage else ()
        assert stated == (1000, 7, 900)
        assert (seen.model, seen.error) == ("m1", None)
    assert whole.finish_reason == streamed.finish_reason


def blocks_of(script: Scripted) -> list[Any]:
    """Put a stream of messages together, as a client does."""
    blocks: list[Any] = []
    for raw in script.events(IDENTITY, "m1", TALK, USAGE):
        event = Event(raw=raw)
        content = event.content or {}
        assert raw.startswith(f"event: {content['type']}\n".encode())
        if content["type"] == "content_block_start":
            blocks.append({**content["content_block"], "json": ""})
        elif content["type"] == "content_block_delta":
            delta = content["delta"]
            blocks[content["index"]]["json"] += delta.get("partial_json", "")
            if delta["type"] == "text_delta":
                blocks[content["index"]]["text"] += delta["text"]
    for block in blocks:
        written = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(written)
    return blocks


def test_messages_stream_says_the_same_as_the_whole() -> None:
    """Blocks put together from a stream are those of the whole message, ids included."""
    _, script = scripted("/v1/messages")
    whole = script.whole(IDENTITY, "m1", TALK, USAGE)
    assert blocks_of(script) == whole["content"]
    assert [block["type"] for block in whole["content"]] == ["text", "tool_use", "tool_use"]
    assert whole["content"][1]["input"] == {"command": "ls 'é'"}
    assert whole["stop_reason"] == "tool_use"
    assert whole["usage"]["input_tokens"] == 100


def test_tools_alone_make_no_empty_text() -> None:
    """An answer without words has no block, item or message with an empty text."""
    answer = ScriptedAnswer(tool_calls=(ToolCall(name="bash"),))
    kinds = [block["type"] for block in scripted("/v1/messages")[1].whole(IDENTITY, "m", answer, USAGE)["content"]]
    items = [item["type"] for item in scripted("/v1/responses")[1].whole(IDENTITY, "m", answer, USAGE)["output"]]
    chat = scripted("/v1/chat/completions")[1].whole(IDENTITY, "m", answer, USAGE)["choices"][0]["message"]
    assert (kinds, items, chat["content"]) == (["tool_use"], ["function_call"], None)


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/v1/chat/completions", {"messages": []}, ""),
        ("/v1/chat/completions", {"messages": [{"content": "a"}, {"role": "tool", "content": "b"}]}, "b"),
        (
            "/v1/chat/completions",
            {"messages": [{"content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"text": "b"}]}]},
            "a\n\nb",
        ),
        ("/v1/chat/completions", {"messages": [{"content": None}]}, ""),
        ("/v1/chat/completions", {"messages": ["text"]}, ""),
        ("/v1/completions", {"prompt": "p"}, "p"),
        ("/v1/completions", {"prompt": ["p", "q"]}, "q"),
        ("/v1/completions", {"prompt": [1, 2]}, ""),
        ("/v1/responses", {"input": "words"}, "words"),
        ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]}, "a"),
        (
            "/v1/responses",
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "total 1"}]},
            "total 1",
        ),
        ("/v1/messages", {"messages": [{"role": "user", "content": "a"}]}, "a"),
        (
            "/v1/messages",
            {"messages": [{"content": [{"type": "tool_result", "content": [{"type": "text", "text": "t"}]}]}]},
            "t",
        ),
        ("/v1/messages", {"messages": [{"content": [{"type": "tool_result", "content": "t"}]}]}, "t"),
    ],
)
def test_last_message_is_found_in_every_shape(path: str, body: Any, text: str) -> None:
    """The text an `expect` is looked for in is that of the last message, parts joined."""
    assert scripted(path)[1].last(body) == text


@pytest.mark.parametrize(
    ("path", "tools"),
    [
        ("/v1/chat/completions", [{"type": "function", "function": {"name": "bash"}}, {"type": "x"}, 5]),
        ("/v1/responses", [{"type": "function", "name": "bash"}, {"type": "web_search"}]),
        ("/v1/messages", [{"name": "bash", "input_schema": {}}]),
    ],
)
def test_tools_are_found_where_each_format_has_them(path: str, tools: Any) -> None:
    """The tools a request offers are known by name."""
    assert list(scripted(path)[1].tools({"tools": tools})) == ["bash"]
    assert list(scripted(path)[1].tools({"tools": None})) == []


def test_rule_counts_four_bytes_as_a_token() -> None:
    """Usage that is not stated follows the documented rule exactly."""
    body = {"messages": [{"role": "user", "content": "é" * 10}], "tools": None}
    usage = count_usage(ScriptedAnswer(content="12345"), body, scripted("/v1/chat/completions")[1])
    compact = len('[[{"role":"user","content":"') + 20 + len('"}],null]')
    assert (usage.tokens_in, usage.tokens_out) == (-(-compact // 4), 2)
    responses = count_usage(ScriptedAnswer(content="x"), {"input": "abc"}, scripted("/v1/responses")[1])
    assert responses.tokens_in == -(-len('[null,"abc",null]') // 4)


def test_stated_usage_is_taken_as_it_is() -> None:
    """An answer that states usage is believed."""
    answer = ScriptedAnswer(content="x", usage=ScriptedUsage(tokens_in=5, tokens_out=6, tokens_cached=4))
    usage = count_usage(answer, {}, scripted("/v1/messages")[1])
    assert usage == Usage(tokens_in=5, tokens_out=6, tokens_cached=4, tokens_cache_written=0, tokens_reasoning=0)
    assert NOTHING.tokens_cached == 0
