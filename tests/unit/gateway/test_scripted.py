"""Scripted answers as the real SDK gets them from a real gateway process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from runner.errors import ConfigError
from runner.gateway.client import GatewayProcess
from runner.gateway.session import GatewayError, SessionSpec
from runner.spec.model import Model

pytestmark = pytest.mark.processes

Spec = Callable[..., SessionSpec]
Sdk = Callable[..., openai.OpenAI]
Calls = Callable[[], list[dict[str, Any]]]

ANSWERS = """
version: 1
steps:
  one:
    - content: I look around.
      tool_calls:
        - {name: bash, arguments: {command: "ls -la 'é'"}}
        - {name: bash, arguments: {}}
    - expect: "^total [0-9]+$"
      content: The end.
      usage: {tokens_in: 1000, tokens_out: 7, tokens_cached: 900}
"""
TOOLS: Any = [{"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}]
HELLO: Any = [{"role": "user", "content": "hello"}]
LISTED: Any = [{"role": "user", "content": [{"type": "text", "text": "listing:\ntotal 12\n..."}]}]


def test_answers_come_in_order_and_are_metered(
    gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls
) -> None:
    """The n-th call gets the n-th answer; totals and calls file say what was used, stated or counted by rule."""
    session = gateway.open(make_spec(answers=ANSWERS))
    client = sdk(session)
    first = client.chat.completions.create(model="gpt-9", messages=HELLO, tools=TOOLS, temperature=0.5, seed=3)
    second = client.chat.completions.create(model="gpt-9", messages=LISTED)
    totals = gateway.close(session)
    assert first.model == "scripted"
    assert first.choices[0].finish_reason == "tool_calls"
    tools: Any = first.choices[0].message.tool_calls
    assert [json.loads(tool.function.arguments) for tool in tools] == [{"command": "ls -la 'é'"}, {}]
    assert len({tool.id for tool in tools}) == 2
    assert second.choices[0].message.content == "The end."
    assert second.usage is not None
    assert second.usage.prompt_tokens == 1000
    lines = calls()
    assert [(line["n"], line["usage_source"], line["model_asked"]) for line in lines] == [
        (1, "rule", "gpt-9"),
        (2, "rule", "gpt-9"),
    ]
    assert lines[0]["parameters"] == {"temperature": 0.5, "seed": 3}
    assert totals.api_calls == 2
    assert totals.tokens_in == lines[0]["tokens_in"] + 1000
    assert totals.tokens_cached == 900
    assert (totals.cost_usd, lines[0]["cost_reason"]) == (None, "scripted model: it has no price")
    assert (totals.failed_calls, totals.unmetered_calls, totals.last_error) == (0, 0, "")


def test_stream_says_the_same_as_the_whole(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls) -> None:
    """A stream, put together by the SDK, equals the answer in one piece, ids included, and is metered alike."""
    whole_session, stream_session = gateway.open(make_spec(answers=ANSWERS)), gateway.open(make_spec(answers=ANSWERS))
    whole = sdk(whole_session).chat.completions.create(model="m", messages=HELLO, tools=TOOLS)
    text, arguments, ids, usage, pieces = "", {0: "", 1: ""}, [], [], 0
    stream = sdk(stream_session).chat.completions.create(
        model="m", messages=HELLO, tools=TOOLS, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        usage += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            pieces += bool(choice.delta.content)
            text += choice.delta.content or ""
            for tool in choice.delta.tool_calls or []:
                ids += [tool.id] if tool.id else []
                arguments[tool.index] += (tool.function.arguments if tool.function else "") or ""
    expected: Any = whole.choices[0].message
    assert text == expected.content
    assert pieces > 1
    assert list(arguments.values()) == [tool.function.arguments for tool in expected.tool_calls]
    assert ids == [tool.id for tool in expected.tool_calls]
    assert usage == [whole.usage]
    assert gateway.close(whole_session).tokens_in == gateway.close(stream_session).tokens_in
    assert {line["stream"] for line in calls()} == {True, False}


def test_usage_chunk_is_hidden_from_a_client_that_did_not_ask(
    gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls
) -> None:
    """Without include_usage no chunk has usage or lacks choices, and yet the call is metered."""
    session = gateway.open(make_spec(answers=ANSWERS))
    stream = sdk(session).chat.completions.create(model="m", messages=HELLO, tools=TOOLS, stream=True)
    assert all(chunk.choices and chunk.usage is None for chunk in stream)
    gateway.close(session)
    assert calls()[0]["tokens_out"] > 0


def test_async_client_is_served(gateway: GatewayProcess, make_spec: Spec) -> None:
    """The SDK's asynchronous client gets its stream too."""
    import httpx2

    session = gateway.open(make_spec(answers=ANSWERS))

    async def ask() -> str:
        transport = httpx2.AsyncHTTPTransport(uds=str(session.directory / "gateway.sock"))
        http = httpx2.AsyncClient(transport=transport)
        async with openai.AsyncOpenAI(api_key=session.token, base_url="http://g/v1", http_client=http) as client:
            stream = await client.chat.completions.create(model="m", messages=HELLO, tools=TOOLS, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(ask()) == "I look around."
    gateway.close(session)


def test_running_out_of_answers_is_said(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls) -> None:
    """A call too many is a 400 that names step and file, and is the session's last error, as our doing."""
    session = gateway.open(make_spec(answers="version: 1\nsteps: {one: [{content: only}]}"))
    client = sdk(session)
    client.chat.completions.create(model="m", messages=HELLO)
    for _ in range(2):
        with pytest.raises(openai.BadRequestError, match="scripted answers exhausted: call 2 of step one"):
            client.chat.completions.create(model="m", messages=HELLO)
    totals = gateway.close(session)
    assert totals.last_error == (
        "scripted answers exhausted: call 2 of step one, but images/fw/answers/demo.yaml has 1"
    )
    assert (totals.last_error_fault, totals.failed_calls, totals.api_calls) == ("runner", 2, 3)
    assert totals.tokens_out == calls()[0]["tokens_out"]


@pytest.mark.parametrize("stream", [False, True])
def test_answer_that_no_longer_fits_is_refused(
    gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, *, stream: bool
) -> None:
    """If `expect` is not found in the last message, the error shows the expression and the message; the answer stays."""
    session = gateway.open(make_spec(answers=ANSWERS))
    client = sdk(session)
    client.chat.completions.create(model="m", messages=HELLO, tools=TOOLS)
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="m", messages=HELLO, stream=stream)
    assert "images/fw/answers/demo.yaml, step one, answer 2" in str(error.value)
    assert "'^total [0-9]+$'" in str(error.value)
    client.chat.completions.create(model="m", messages=LISTED)
    assert gateway.close(session).last_error == ""


def test_tool_that_was_not_offered_is_refused(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk) -> None:
    """A scripted tool call that the request does not offer names the tool and the offered ones."""
    session = gateway.open(make_spec(answers=ANSWERS))
    other: Any = [{"type": "function", "function": {"name": "shell"}}]
    with pytest.raises(openai.BadRequestError, match="uses the tool 'bash', but the request offers shell"):
        sdk(session).chat.completions.create(model="m", messages=HELLO, tools=other)
    gateway.close(session)


def test_fifty_calls_at_once_get_fifty_answers(
    gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls
) -> None:
    """Concurrent calls of one session each get one answer, none twice, and each has its line."""
    answers = "version: 1\nsteps:\n  one:\n" + "".join(f"    - content: answer {n}\n" for n in range(50))
    session = gateway.open(make_spec(answers=answers))
    client = sdk(session)

    def ask(_: int) -> str | None:
        return client.chat.completions.create(model="m", messages=HELLO).choices[0].message.content

    with ThreadPoolExecutor(50) as pool:
        got = list(pool.map(ask, range(50)))
    assert sorted(map(str, got)) == sorted(f"answer {n}" for n in range(50))
    assert gateway.close(session).api_calls == 50
    assert sorted(line["n"] for line in calls()) == list(range(1, 51))


def test_sessions_do_not_mix(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk) -> None:
    """The token of one session is worth nothing at another, and an attempt starts with the first answer again."""
    first, second = gateway.open(make_spec(answers=ANSWERS)), gateway.open(make_spec(answers=ANSWERS, attempt=2))
    with pytest.raises(openai.AuthenticationError, match="this is not the session's token"):
        sdk(first, token=second.token).chat.completions.create(model="m", messages=HELLO)
    for session in (first, second):
        answer = sdk(session).chat.completions.create(model="m", messages=HELLO, tools=TOOLS)
        assert answer.choices[0].message.content == "I look around."
        gateway.close(session)


def test_closed_session_is_gone(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk) -> None:
    """After close neither socket nor folder is there, and it cannot be closed again."""
    session = gateway.open(make_spec(answers=ANSWERS))
    sdk(session).models.list()
    assert (session.directory / "gateway.sock").is_socket()
    gateway.close(session)
    assert not session.directory.exists()
    with pytest.raises(GatewayError, match="is not open"):
        gateway.close(session)


def test_models_lists_the_one_model(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls) -> None:
    """The list of models holds the model there is; asking for it is no model call."""
    session = gateway.open(make_spec(answers=ANSWERS))
    assert [model.id for model in sdk(session).models.list()] == ["scripted"]
    assert gateway.close(session).api_calls == 0
    assert calls() == []


def test_path_without_an_answer_is_a_recorded_404(
    gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls
) -> None:
    """What the scripted model does not speak is answered in the provider's shape, and recorded as our doing."""
    session = gateway.open(make_spec(answers=ANSWERS))
    with pytest.raises(openai.NotFoundError, match="the scripted model does not answer POST /v1/embeddings"):
        sdk(session).embeddings.create(model="m", input="x")
    totals = gateway.close(session)
    assert [(line["path"], line["status"], line["usage_source"]) for line in calls()] == [
        ("/v1/embeddings", 404, "no answer")
    ]
    assert (totals.failed_calls, totals.tokens_in, totals.last_error_fault) == (1, 0, "runner")


FUNCTIONS: Any = [{"type": "function", "name": "bash", "parameters": {"type": "object"}, "strict": False}]


def test_responses_are_scripted_too(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls) -> None:
    """The SDK reads a scripted response, whole and as a stream, as the same message, tool calls and usage."""
    first, second = gateway.open(make_spec(answers=ANSWERS)), gateway.open(make_spec(answers=ANSWERS))
    whole = sdk(first).responses.create(model="m", input="hello", tools=FUNCTIONS)
    with sdk(second).responses.stream(model="m", input="hello", tools=FUNCTIONS) as stream:
        streamed = stream.get_final_response()
    assert whole.output_text == streamed.output_text == "I look around."
    used = [item for item in whole.output if item.type == "function_call"]
    assert [json.loads(item.arguments) for item in used] == [{"command": "ls -la 'é'"}, {}]
    again = [item for item in streamed.output if item.type == "function_call"]
    assert [(item.id, item.call_id, item.name, item.arguments) for item in used] == [
        (item.id, item.call_id, item.name, item.arguments) for item in again
    ]
    listed: Any = [{"type": "function_call_output", "call_id": used[0].call_id, "output": "total 12"}]
    last = sdk(first).responses.create(model="m", input=listed)
    assert last.usage is not None
    assert (last.usage.input_tokens, last.usage.input_tokens_details.cached_tokens) == (1000, 900)
    totals = gateway.close(first)
    gateway.close(second)
    lines = calls()
    assert {line["format"] for line in lines} == {"openai-responses"}
    assert (lines[0]["tokens_in"], lines[0]["tokens_out"]) == (lines[1]["tokens_in"], lines[1]["tokens_out"])
    assert (totals.tokens_cached, totals.failed_calls) == (900, 0)


def test_older_completions_are_scripted_too(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, calls: Calls) -> None:
    """The SDK reads a scripted completion, whole and as a stream, without the usage chunk it did not ask for."""
    answers = "version: 1\nsteps: {one: [{content: once upon}, {content: a time, expect: upon}]}"
    session = gateway.open(make_spec(answers=answers))
    client = sdk(session)
    assert client.completions.create(model="m", prompt="tell").choices[0].text == "once upon"
    stream = client.completions.create(model="m", prompt="once upon", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "a time"
    assert gateway.close(session).failed_calls == 0
    assert [(line["format"], line["usage_source"]) for line in calls()] == [("openai-completions", "rule")] * 2


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"messages": 3}'])
def test_request_that_is_no_chat_is_a_400(gateway: GatewayProcess, make_spec: Spec, sdk: Sdk, content: str) -> None:
    """A broken request is the framework's doing and uses up no answer."""
    session = gateway.open(make_spec(answers=ANSWERS))
    client = sdk(session)
    with pytest.raises(openai.BadRequestError, match="not a JSON object with a list of messages"):
        client.post("/chat/completions", cast_to=object, options={"headers": {}}, content=content.encode())
    client.chat.completions.create(model="m", messages=HELLO, tools=TOOLS)
    assert gateway.close(session).failed_calls == 1


def test_bad_answers_are_refused_at_open(gateway: GatewayProcess, make_spec: Spec) -> None:
    """Answers that are missing, broken or lack the step end in a configuration error with the file's name."""
    with pytest.raises(ConfigError, match=r"no scripted answers for fw on demo"):
        gateway.open(make_spec())
    with pytest.raises(ConfigError, match=r"demo\.yaml:4: .*contents"):
        gateway.open(make_spec(answers="version: 1\nsteps:\n  one:\n    - contents: x"))
    with pytest.raises(ConfigError, match=r"no scripted answers for one"):
        gateway.open(make_spec(answers="version: 1\nsteps: {two: [{content: x}]}"))
    with pytest.raises(ConfigError, match=r"is not a regular expression"):
        gateway.open(make_spec(answers="version: 1\nsteps: {one: [{content: x, expect: '('}]}"))


def test_scripted_model_needs_no_endpoint() -> None:
    """The default model is the scripted one."""
    assert Model().provider == "scripted"
