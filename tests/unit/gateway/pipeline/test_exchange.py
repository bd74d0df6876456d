"""What the provider is asked, what the framework gets, and what is recorded, for calls that come in one piece."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from runner.gateway import exchange
from runner.gateway.bodies import read_body
from runner.gateway.budgets import Purse
from runner.gateway.calls import read_calls
from runner.gateway.session import Metered
from runner.gateway.settings import Spent
from runner.spec.model import Budget, Model, Sampling, Traffic

Play = Callable[..., None]
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "asked-1", "messages": [{"role": "user", "content": "hello"}]}
ANSWER = {
    "model": "real-1-0613",
    "choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}},
}
WHOLE = [json.dumps(ANSWER).encode()]
ONCE = Traffic(retries=0)


def test_call_is_recorded_before_its_answer_is_there(play: Play, said: Any) -> None:
    """The line of a call and the word to whoever listens are there when the answer is, and its bodies with the process."""
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        # What is left to do of a call is done when this test asks for it, not in the middle of its looking.
        scene.served.afterwards._seconds = 60.0
        status, answer = await scene.post(CHAT, HELLO)
        assert (status, answer) == (200, ANSWER)
        file = scene.served.spec.calls_file
        (call,) = read_calls(file).calls
        assert (call.format, call.provider, call.n, call.status) == ("openai-chat", "openai", 1, 200)
        assert (call.model_asked, call.model_sent, call.model_used) == ("asked-1", "real-1", "real-1-0613")
        assert (call.tokens_in, call.tokens_out, call.tokens_cached, call.usage_source) == (11, 5, 8, "provider")
        assert scene.served.pending.left() != []
        await scene.served.afterwards.done()
        assert scene.served.pending.left() == []
        assert read_body(file.parent / "bodies", str(call.request_sha256)) == json.dumps(HELLO).encode()
        assert read_body(file.parent / "bodies", str(call.response_sha256)) == WHOLE[0]
        told = Metered(session="s1", tokens_in=11, tokens_out=5, cost_usd=None, error=None)
        assert scene.told == [dataclasses.replace(told, waited_seconds=call.waited_seconds)]

    play(look, provider)
    assert provider.asked[0].content == json.dumps({**HELLO, "model": "real-1"}).encode()
    assert provider.asked[0].received == json.dumps(HELLO).encode()
    assert provider.closed == [True]


def test_frameworks_own_bytes_are_sent_if_nothing_is_replaced(play: Play, said: Any) -> None:
    """A request that asks for the experiment's model goes on as it came, spaces, numbers and unknown members included."""
    data = b'{ "messages":[ ], "model" : "real-1", "temperature": 1.0, "logit_bias": {"5": 1e1}, "n": 3 }'
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        assert (await scene.post(CHAT, data))[0] == 200

    play(look, provider)
    assert provider.asked[0].content == data


def test_pinned_parameters_replace_the_frameworks_own(play: Play, said: Any) -> None:
    """The provider gets what is configured; what the framework wanted and what replaced it are both recorded."""
    model = Model(provider="openai", name="real-1", sampling=Sampling(temperature=0, max_tokens=50, seed="repetition"))
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        await scene.post(CHAT, {**HELLO, "temperature": 0.7, "max_tokens": 9, "stop": ["x"]})
        (call,) = scene.served.calls
        assert call.parameters == {"temperature": 0.7, "max_tokens": 9, "stop": ["x"]}
        assert call.pinned == {"temperature": 0, "max_tokens": 50, "seed": 0}

    play(look, provider, model=model)
    sent = json.loads(provider.asked[0].content)
    assert (sent["temperature"], sent["max_tokens"], sent["seed"], sent["stop"]) == (0, 50, 0, ["x"])


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (CHAT, HELLO, 404, ["asked-1", "real-1"]),
        ("/v1/messages", {**HELLO, "max_tokens": 5}, 404, ["asked-1", "real-1"]),
        (CHAT, {**HELLO, "model": "alias"}, 200, []),
        (CHAT, {"messages": []}, 200, []),
    ],
)
def test_another_model_is_refused_if_configured(
    *, play: Play, said: Any, path: str, body: Any, status: int, words: list[str]
) -> None:
    """With mismatch: refuse only the model, its aliases and no model at all may be asked for."""
    model = Model(provider="openai", name="real-1", aliases=("alias",), mismatch="refuse")
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        got, answer = await scene.post(path, body)
        assert got == status
        (call,) = scene.served.calls
        if words:
            assert all(word in answer["error"]["message"] for word in words)
            assert (call.fault, call.model_sent, call.usage_source) == ("framework", None, "no answer")
        else:
            assert json.loads(provider.asked[0].content)["model"] == "real-1"

    play(look, provider, model=model)
    assert len(provider.asked) == (0 if words else 1)


def test_embedding_keeps_its_own_model(play: Play, said: Any) -> None:
    """A chat model cannot embed: the framework's embedding model is asked, and recorded as sent."""
    provider = said(pieces=[b'{"data":[],"model":"e-3","usage":{"prompt_tokens":8,"total_tokens":8}}'])

    async def look(scene: Any) -> None:
        await scene.post("/v1/embeddings", {"model": "e-3", "input": "x"})
        (call,) = scene.served.calls
        assert (call.model_sent, call.tokens_in, call.tokens_out, call.format) == ("e-3", 8, 0, "openai-embeddings")

    play(look, provider)


def test_other_path_is_passed_on_and_recorded(play: Play, said: Any) -> None:
    """Path, query, body and type of an unknown call reach the provider as they came; its answer comes back as it is."""
    provider = said(pieces=[b"\x00\xff raw"], headers={"content-type": "application/octet-stream"}, status=201)

    async def look(scene: Any) -> None:
        headers = {"x-api-key": "run-token-0123456789", "content-type": "multipart/form-data; boundary=b"}
        url = f"{scene.url}/v1/files/a%2Fb?purpose=x%20y"
        async with scene.client.put(url, data=b"--b--", headers=headers) as response:
            assert (response.status, await response.read()) == (201, b"\x00\xff raw")
            assert response.content_type == "application/octet-stream"
        (call,) = scene.served.calls
        assert (call.format, call.method, call.path) == ("other", "PUT", "/v1/files/a%2Fb")
        assert (call.usage_source, call.tokens_in, call.error) == ("no answer", None, None)

    play(look, provider)
    (ask,) = provider.asked
    assert (ask.path, ask.method, ask.content) == ("/v1/files/a%2Fb?purpose=x%20y", "PUT", b"--b--")
    assert ask.headers["content-type"] == "multipart/form-data; boundary=b"
    assert "x-api-key" not in ask.headers


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"messages": 3}', b"\xff", b"[" * 100_000])
def test_request_that_is_no_chat_is_a_400(play: Play, said: Any, content: bytes) -> None:
    """A broken request is the framework's doing, is recorded and asks nobody."""
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        status, answer = await scene.post(CHAT, content)
        assert status == 400
        assert answer["error"]["message"] == "the request is not a JSON object with a list of messages"
        assert scene.served.calls[0].fault == "framework"

    play(look, provider)
    assert provider.asked == []


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_request_is_read(play: Play, said: Any, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """A compressed body is decoded, and what is sent on is no longer called compressed."""
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        packed = pack(json.dumps(HELLO).encode())
        assert (await scene.post(CHAT, packed, headers={"Content-Encoding": encoding}))[0] == 200
        assert scene.served.calls[0].request_bytes == len(json.dumps(HELLO))

    play(look, provider)
    assert json.loads(provider.asked[0].content)["messages"] == HELLO["messages"]
    assert "content-encoding" not in provider.asked[0].headers


def test_compressed_request_is_read_up_to_a_bound(play: Play, said: Any) -> None:
    """A small body that becomes an enormous one is refused as an enormous one is; a broken one is a 400."""
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        bomb = gzip.compress(b" " * (65 << 20))
        status, answer = await scene.post(CHAT, bomb, headers={"Content-Encoding": "gzip"})
        assert (status, answer["error"]["message"]) == (413, "the request has more than 67108864 bytes")
        status, _ = await scene.post(CHAT, b"no gzip", headers={"Content-Encoding": "gzip"})
        assert status == 400
        assert [call.status for call in scene.served.calls] == [413, 400]

    play(look, provider)


@pytest.mark.parametrize("token", ["", "run-another", "run-tökèn"])
def test_wrong_token_is_refused(play: Play, said: Any, token: str) -> None:
    """Without the session's token there is no answer, no model's name, and the attempt is recorded."""
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {"Authorization": ""}
        status, answer = await scene.post(CHAT, HELLO, headers=headers)
        assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        async with scene.client.get(scene.url + "/v1/models", headers=headers) as response:
            assert response.status == 401
        assert [call.status for call in scene.served.calls] == [401]

    play(look, provider)
    assert provider.asked == []


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key"])
def test_token_is_taken_from_every_families_header(play: Play, said: Any, header: str) -> None:
    """SDKs of OpenAI, Anthropic and Azure hand over the token each in its own way."""

    async def look(scene: Any) -> None:
        value = "Bearer run-token-0123456789" if header == "Authorization" else "run-token-0123456789"
        async with scene.client.post(scene.url + CHAT, json=HELLO, headers={header: value}) as response:
            assert response.status == 200

    play(look, said(pieces=WHOLE))


def test_models_are_told_and_not_recorded(play: Play, said: Any) -> None:
    """The gateway knows the model there is, by all its names and in each family's shape; nobody is called."""
    model = Model(provider="openai", name="org/real-1", aliases=("alias",), mismatch="refuse")
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        headers = {"x-api-key": "run-token-0123456789"}
        for path, version, status, found in (
            ("/v1/models", {}, 200, ["org/real-1", "alias"]),
            ("/v1/models", {"anthropic-version": "2023-06-01"}, 200, ["org/real-1", "alias"]),
            ("/v1/models/org%2Freal-1", {}, 200, "org/real-1"),
            ("/v1/models/org/real-1", {}, 200, "org/real-1"),
            ("/v1/models/another", {}, 404, None),
        ):
            async with scene.client.get(scene.url + path, headers={**headers, **version}) as response:
                answer = await response.json()
                assert response.status == status
                ids = [one["id"] for one in answer["data"]] if "data" in answer else answer.get("id")
                assert ids == found
                assert ("has_more" in answer) == bool(version)
        assert (scene.served.calls, scene.served.requests) == ([], 0)

    play(look, provider, model=model)
    assert provider.asked == []


def test_session_without_a_model_says_so(play: Play) -> None:
    """A step that only has another way out gets a clear error, recorded as the framework's doing."""

    async def look(scene: Any) -> None:
        status, answer = await scene.post(CHAT, HELLO)
        assert (status, answer["error"]["code"]) == (404, "model_not_found")
        assert "no model" in answer["error"]["message"]
        (call,) = scene.served.calls
        assert (call.provider, call.fault, call.bodies) == ("", "framework", "off")

    play(look, None, no_model=True)


def test_call_over_budget_is_refused_before_anybody_is_asked(play: Play, said: Any) -> None:
    """The budget's sentence stands in the error and in the record, and SDKs are told not to try again."""
    purse = Purse("budgets.run", Budget(tokens=16), Spent())
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        assert (await scene.post(CHAT, HELLO))[0] == 200
        headers = {"Authorization": "Bearer run-token-0123456789"}
        async with scene.client.post(scene.url + CHAT, json=HELLO, headers=headers) as response:
            assert (response.status, response.headers["x-should-retry"]) == (403, "false")
            assert (await response.json())["error"]["code"] == "budget_exceeded"
        assert "budgets.run.tokens is 16" in scene.served.calls[1].exceeded
        assert (scene.served.calls[1].model_sent, purse.calls) == (None, 1)

    play(look, provider, purse=purse)
    assert len(provider.asked) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_call_that_outlasts_its_budget_is_ended(*, play: Play, said: Any, stream: bool) -> None:
    """When the time in calls is used up the answer ends with the budget's error, and its provider is let go."""
    event = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":null}],"model":"m"}\n\n'
    provider = said(pieces=[event, 60.0, event], stream=stream)

    async def look(scene: Any) -> None:
        if stream:
            assert b"budget_exceeded" in await scene.stream(CHAT, {**HELLO, "stream": True})
        else:
            assert (await scene.post(CHAT, HELLO))[0] == 403
        (call,) = scene.served.calls
        assert "budgets.run.call_time is 1.5 s" in call.exceeded
        assert (call.usage_source, call.latency_seconds < 30) == ("unknown", True)

    play(look, provider, purse=Purse("budgets.run", Budget(call_time=1.5), Spent()))
    assert provider.closed == [True]


def test_call_whose_answer_does_not_begin_within_its_budget_is_ended(play: Play, said: Any) -> None:
    """A provider that has not answered when the time in calls is used up is not waited for."""

    async def look(scene: Any) -> None:
        status, answer = await scene.post(CHAT, HELLO)
        assert (status, answer["error"]["code"]) == (403, "budget_exceeded")
        (call,) = scene.served.calls
        assert (call.usage_source, call.model_sent, call.latency_seconds < 30) == ("unknown", "real-1", True)

    play(look, said(pieces=WHOLE, thinks=60.0), purse=Purse("budgets.run", Budget(call_time=1.5), Spent()))


@pytest.mark.parametrize(
    ("status", "body", "fault", "error"),
    [
        (400, b'{"error":{"message":"too long"}}', "provider", "400: too long"),
        (404, b"", "provider", "404: the provider answered 404"),
        (401, b'{"type":"error","error":{"message":"no"}}', "provider", "401: no"),
    ],
)
def test_providers_error_comes_back_as_it_is(
    *, play: Play, said: Any, status: int, body: bytes, fault: str, error: str
) -> None:
    """Status, headers and body of an error are the provider's; nothing is counted."""
    provider = said(pieces=[body], status=status, headers={"retry-after": "7", "x-request-id": "r1"})

    async def look(scene: Any) -> None:
        headers = {"Authorization": "Bearer run-token-0123456789"}
        async with scene.client.post(scene.url + CHAT, json=HELLO, headers=headers) as response:
            assert (response.status, await response.read()) == (status, body)
            assert (response.headers["retry-after"], response.headers["x-request-id"]) == ("7", "r1")
        (call,) = scene.served.calls
        assert (call.error, call.fault, call.usage_source, call.model_sent) == (error, fault, "no answer", "real-1")

    play(look, provider)


def test_error_in_an_answer_of_status_200_is_recorded(play: Play, said: Any) -> None:
    """Endpoints that put an error into an answer that looks well get it recorded as theirs."""

    async def look(scene: Any) -> None:
        assert (await scene.post(CHAT, HELLO))[0] == 200
        (call,) = scene.served.calls
        assert (call.error, call.fault, call.usage_source) == ("inner", "provider", "unknown")

    play(look, said(pieces=[b'{"error":{"message":"inner"}}']))


def test_answer_that_is_no_json_is_a_502(play: Play, said: Any) -> None:
    """A web page in place of an answer is not handed to an SDK as one."""

    async def look(scene: Any) -> None:
        status, answer = await scene.post(CHAT, HELLO)
        assert status == 502
        assert answer["error"]["message"] == "the provider's answer is no JSON object, but begins '<h1>Hello</h1>'"
        (call,) = scene.served.calls
        assert (call.fault, call.usage_source) == ("provider", "unknown")

    play(look, said(pieces=[b"<h1>Hello</h1>"]))


def test_refused_try_is_tried_again_and_recorded(play: Play, said: Any, refused: Any) -> None:
    """What failed tries were is in the record, and a call that nobody answered says why."""
    provider = said(refuses=refused(502, "cannot connect", retry=True))
    model = Model(provider="openai", name="real-1", traffic=Traffic(retries=2, backoff=0.01))

    async def look(scene: Any) -> None:
        assert (await scene.post(CHAT, HELLO))[0] == 502
        (call,) = scene.served.calls
        assert (call.retries, call.statuses, call.error) == (2, (0, 0, 0), "cannot connect")
        assert (call.fault, call.usage_source, call.status) == ("provider", "no answer", 502)
        assert 0 < call.waited_seconds <= call.latency_seconds

    play(look, provider, model=model)
    assert len(provider.asked) == 3


def test_defect_of_ours_is_an_answer_a_record_and_a_log(
    play: Play, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception nobody foresaw is a 500 in the provider's shape, a line of the runner's fault, and a traceback without the key."""
    provider = said(refuses=ZeroDivisionError("sk-sentinel-51c0 divided"))

    async def look(scene: Any) -> None:
        status, answer = await scene.post(CHAT, HELLO)
        assert (status, answer["error"]["type"]) == (500, "gateway_error")
        (call,) = read_calls(scene.served.spec.calls_file).calls
        assert (call.status, call.fault) == (500, "runner")
        assert "ZeroDivisionError" in (call.error or "")

    play(look, provider)
    assert "Traceback" in caplog.text
    assert "[key removed] divided" in caplog.text
    assert "sk-sentinel" not in caplog.text


def test_parameters_that_no_record_can_hold_do_not_lose_the_call(play: Play, said: Any) -> None:
    """Half characters and numbers beyond measure in a request are recorded as far as a line can hold them."""
    body = b'{"messages":[],"model":"\\ud800","stop":"\\ud83d","x\\ud800":1e999,"n":' + b"9" * 400 + b"}"

    async def look(scene: Any) -> None:
        assert (await scene.post(CHAT, body))[0] == 200
        (call,) = read_calls(scene.served.spec.calls_file).calls
        assert (call.model_asked, call.parameters["stop"], call.parameters["n"]) == ("?", "?", int("9" * 400))
        assert "x?" in call.parameters

    play(look, said(pieces=WHOLE))


def test_turns_that_were_refused_are_given_again(play: Play, said: Any, refused: Any) -> None:
    """The n-th answered call asks for the n-th answer, however many were refused in between."""
    provider = said(pieces=WHOLE)

    async def look(scene: Any) -> None:
        await scene.post(CHAT, b"{")
        await scene.post(CHAT, HELLO)
        provider.refuses = refused(400, "drift", retry=False)
        await scene.post(CHAT, HELLO)
        provider.refuses = None
        await scene.post(CHAT, HELLO)
        assert [call.n for call in scene.served.calls] == [1, 2, 3, 4]

    play(look, provider, model=Model(provider="openai", name="real-1", traffic=ONCE))
    assert [ask.n for ask in provider.asked] == [1, 2, 2]


def test_large_answer_arrives_whole(play: Play, said: Any) -> None:
    """An answer of many megabytes is passed on unharmed."""
    big = json.dumps({**ANSWER, "filler": "é" * (9 << 20)}, ensure_ascii=False).encode()

    async def look(scene: Any) -> None:
        headers = {"Authorization": "Bearer run-token-0123456789"}
        async with scene.client.post(scene.url + CHAT, json=HELLO, headers=headers) as response:
            assert await response.read() == big
        (call,) = scene.served.calls
        assert call.response_bytes == len(big)
        assert read_body(scene.served.spec.calls_file.parent / "bodies", str(call.response_sha256)) == big

    play(look, said(pieces=[big]))


def test_requests_under_way_have_only_so_much_room(play: Play, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes while others fill the session's room is told to come again; the room is free once they ended."""
    monkeypatch.setattr(exchange, "MAX_HELD", 1000)
    free = asyncio.Event()
    provider = said(pieces=[free, json.dumps(ANSWER).encode()])
    long = {**HELLO, "user": "x" * 600}

    async def look(scene: Any) -> None:
        first = asyncio.create_task(scene.post(CHAT, long))
        await scene.until(lambda: provider.asked)
        status, answer = await scene.post(CHAT, long)
        assert (status, answer["error"]["type"]) == (429, "rate_limit_error")
        free.set()
        assert (await first)[0] == 200
        assert (await scene.post(CHAT, long))[0] == 200
        assert scene.served.held == 0

    play(look, provider)


def test_bodies_that_cannot_be_kept_lose_no_line(play: Play, said: Any) -> None:
    """A large call whose bodies find no place has its line and its tokens all the same, and its answer is passed on."""
    large = {**HELLO, "user": "x" * (1 << 18)}

    async def look(scene: Any) -> None:
        folder = scene.served.spec.calls_file.parent / "bodies"
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.write_text("no folder")
        assert (await scene.post(CHAT, large))[0] == 200
        (call,) = scene.served.calls
        assert (call.bodies, call.request_sha256, call.response_sha256) == ("off", None, None)
        assert call.usage_source == "provider"
        assert len(scene.served.spec.calls_file.read_text().splitlines()) == 1

    play(look, said(pieces=[json.dumps(ANSWER).encode()]))


def test_configured_patterns_are_taken_out_of_the_line(play: Play, said: Any) -> None:
    """What `redact` matches stands in no parameter, no name and no error of a call's line, nor a key or token."""
    error = {"error": {"message": "no user ann@example.org, nor sk-sentinel-51c0"}}
    body = {**HELLO, "model": "m-ann@example.org", "metadata": {"ann@example.org": ["run-token-0123456789"]}}
    model = Model(provider="openai", name="real-1", redact=(r"\w+@[\w.]+",))

    async def look(scene: Any) -> None:
        await scene.post(CHAT, body)
        (call,) = read_calls(scene.served.spec.calls_file).calls
        assert call.parameters == {"metadata": {"[redacted]": ["[redacted]"]}}
        assert (call.model_asked, call.error) == ("m-[redacted]", "400: no user [redacted], nor [redacted]")

    play(look, said(pieces=[json.dumps(error).encode()], status=400), model=model)
