"""Providers over HTTP against an endpoint in this process: addresses, keys, and everything an endpoint may do wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from runner.gateway.providers import make_provider
from runner.gateway.providers.http import Endpoint, send
from runner.gateway.providers.protocol import Ask, Refused, Reply
from runner.gateway.session import SessionSpec
from runner.spec.model import Model

KEY = "sk-sentinel-51c0"
ANSWER = b'{"ok":true}'
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def ask(path: str = "/v1/chat/completions", wire: str = "openai-chat", **more: Any) -> Ask:
    """Return something to ask."""
    plain: dict[str, Any] = {"n": 1, "method": "POST", "headers": {"content-type": "application/json"}}
    return Ask(**{**plain, "path": path, "format": wire, "content": b'{"a":1}', "original": {"a": 1}, **more})


@pytest.fixture
def converse(upstream: Any, make_spec: Callable[..., SessionSpec]) -> Callable[..., tuple[Reply, bytes]]:
    """Return what asks a provider once, with a handler behind it, and gives its reply with the whole body."""

    def run(
        handler: Handler, one: Ask, *, key: str | None = KEY, suffix: str = "", **model: Any
    ) -> tuple[Reply, bytes]:
        async def talk() -> tuple[Reply, bytes]:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=2)
            async with upstream(handler) as url, aiohttp.ClientSession(timeout=timeout) as http:
                spec = make_spec(model=Model(base_url=url + suffix, **model))
                secret = SecretStr(key) if key else None
                provider = make_provider(spec, token="t", http=http, base_url="", key=secret)
                assert provider is not None
                reply = await provider.answer(one)
                return reply, b"".join([piece async for piece in reply.body])

        return asyncio.run(talk())

    return run


OPENAI = {"provider": "openai", "name": "real-1"}
AZURE = {"provider": "azure", "name": "dep 1"}
OLD_AZURE = {**AZURE, "api_version": "2024-10-21"}
CLAUDE = {"provider": "anthropic", "name": "claude"}


@pytest.mark.parametrize(
    ("model", "suffix", "one", "path", "headers"),
    [
        (OPENAI, "/api/v1", ask(), "/api/v1/chat/completions", {"Authorization": f"Bearer {KEY}"}),
        (OPENAI, "/v1beta/openai/", ask(), "/v1beta/openai/chat/completions", {}),
        (OPENAI, "/v1", ask("/v1/files/a%2Fb?x=%20", "other"), "/v1/files/a%2Fb?x=%20", {}),
        (OPENAI, "/v1", ask("/v1/messages", "anthropic-messages"), "/v1/messages", {"Authorization": f"Bearer {KEY}"}),
        (CLAUDE, "", ask("/v1/messages", "anthropic-messages"), "/v1/messages", {"x-api-key": KEY}),
        (
            CLAUDE,
            "/v1",
            ask("/v1/messages?beta=true", "anthropic-messages", headers={"anthropic-version": "2099-01-01"}),
            "/v1/messages?beta=true",
            {"anthropic-version": "2099-01-01"},
        ),
        (CLAUDE, "", ask("/v1/messages", "anthropic-messages"), "/v1/messages", {"anthropic-version": "2023-06-01"}),
        (CLAUDE, "", ask(), "/v1/chat/completions", {"Authorization": f"Bearer {KEY}"}),
        (AZURE, "", ask(), "/openai/v1/chat/completions", {"api-key": KEY}),
        (AZURE, "/openai/v1/", ask("/v1/responses", "openai-responses"), "/openai/v1/responses", {"api-key": KEY}),
        (
            OLD_AZURE,
            "/openai",
            ask(),
            "/openai/deployments/dep%201/chat/completions?api-version=2024-10-21",
            {"api-key": KEY},
        ),
        (
            OLD_AZURE,
            "",
            ask("/v1/embeddings", "openai-embeddings", original={"model": "e-3"}),
            "/openai/deployments/e-3/embeddings?api-version=2024-10-21",
            {},
        ),
        (
            OLD_AZURE,
            "",
            ask("/v1/responses?api-version=1&x=2", "openai-responses"),
            "/openai/responses?api-version=2024-10-21&x=2",
            {},
        ),
    ],
)
def test_each_provider_has_its_address_and_its_way_with_the_key(
    *, converse: Any, model: dict[str, Any], suffix: str, one: Ask, path: str, headers: dict[str, str]
) -> None:
    """Path, query and headers are those of the provider's API; the body goes on as it is."""
    seen: list[web.Request] = []
    bodies: list[bytes] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        bodies.append(await request.read())
        return web.Response(body=ANSWER, content_type="application/json")

    reply, body = converse(handle, one, suffix=suffix, **model)
    assert (reply.status, body, reply.stream) == (200, ANSWER, False)
    (request,) = seen
    assert request.raw_path == path
    assert headers.items() <= dict(request.headers).items()
    assert bodies == [b'{"a":1}']
    assert request.headers["Accept-Encoding"] == "identity"


def test_endpoint_without_a_key_gets_none(converse: Any) -> None:
    """No header is made up for an endpoint that wants no key."""
    seen: list[set[str]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append({name.lower() for name in request.headers})
        return web.Response(body=ANSWER)

    for model in (OPENAI, CLAUDE, AZURE):
        converse(handle, ask(), key=None, **model)
    assert not any(names & {"authorization", "x-api-key", "api-key"} for names in seen)


@pytest.mark.parametrize("stream", [False, True])
def test_key_is_taken_out_of_all_that_comes_back(*, converse: Any, stream: bool) -> None:
    """An endpoint that repeats the key, in a header or a body, in one piece or cut in two, gives it away to nobody."""

    async def handle(request: web.Request) -> web.StreamResponse:
        kind = "text/event-stream" if stream else "application/json"
        response = web.StreamResponse(headers={"x-request-id": f"for {KEY}", "Set-Cookie": KEY, "content-type": kind})
        await response.prepare(request)
        for piece in (b"data: {", KEY[:5].encode(), KEY[5:].encode(), b"}\n\ndata: rest ", KEY.encode()):
            await response.write(piece)
            await asyncio.sleep(0.02)
        return response

    reply, body = converse(handle, ask(stream=stream), **OPENAI)
    assert reply.headers["x-request-id"] == "for [key removed]"
    assert body == b"data: {[key removed]}\n\ndata: rest [key removed]"
    assert set(reply.headers) == {"x-request-id", "content-type"}


def test_events_come_in_whole_pieces(upstream: Any, make_spec: Callable[..., SessionSpec]) -> None:
    """Pieces of a stream never end in the middle of an event, however the network cuts it."""
    event = b'data: {"x":1}\n\n'

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for piece in (event[:5], event[5:] + event + event[:3], event[3:]):
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response

    async def talk() -> list[bytes]:
        async with upstream(handle) as url, aiohttp.ClientSession() as http:
            spec = make_spec(model=Model(provider="openai", name="m", base_url=url))
            provider = make_provider(spec, token="t", http=http, base_url="", key=None)
            assert provider is not None
            reply = await provider.answer(ask(stream=True))
            assert reply.stream
            return [piece async for piece in reply.body]

    pieces = asyncio.run(talk())
    assert b"".join(pieces) == event * 3
    assert all(len(piece) % len(event) == 0 for piece in pieces)


@pytest.mark.parametrize("chunked", [False, True])
def test_answer_that_is_compressed_nevertheless_is_read(*, converse: Any, chunked: bool) -> None:
    """An endpoint that compresses although asked not to is understood, and its encoding is not passed on."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/event-stream" if chunked else "application/json"}
        return web.Response(body=gzip.compress(b"data: 1\n\n" * 100), headers=headers)

    reply, body = converse(handle, ask(stream=chunked), **OPENAI)
    assert body == b"data: 1\n\n" * 100
    assert "content-encoding" not in reply.headers


def test_small_answer_that_becomes_an_enormous_one_is_cut(converse: Any) -> None:
    """A compressed answer is read up to the bound of all answers."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(b"x" * (65 << 20)), headers={"Content-Encoding": "gzip"})

    with pytest.raises(Refused, match="answered with more than 67108864 bytes") as error:
        converse(handle, ask(), **OPENAI)
    assert (error.value.status, error.value.begun, error.value.retry) == (502, True, False)


async def _silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(5)
    return web.Response()


async def _drops(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _moved(_: web.Request) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "/elsewhere"})


async def _stalls(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b"data: 1\n\n")
    await asyncio.sleep(5)
    return response


async def _lies(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "100"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


async def _endless_event(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(18):
        await response.write(b"x" * (1 << 20))
    return response


async def _garbled(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"no gzip", headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("handler", "status", "words", "retry", "begun"),
    [
        (_silent, 504, "did not answer in time", False, True),
        (_drops, 502, "lost the connection", True, True),
        (_moved, 502, "answered with status 307", False, False),
        (_stalls, 504, "did not answer in time", False, True),
        (_lies, 502, "lost the connection", True, True),
        (_endless_event, 502, "streamed an event of more than", False, True),
        (_garbled, 502, "lost the connection", True, True),
    ],
)
def test_broken_endpoint_is_said_plainly(
    *, converse: Any, handler: Handler, status: int, words: str, retry: bool, begun: bool
) -> None:
    """Each way to go wrong has its status and sentence, and says whether another try may help."""
    with pytest.raises(Refused, match=words) as error:
        converse(handler, ask(), **OPENAI)
    assert (error.value.status, error.value.retry, error.value.begun) == (status, retry, begun)
    assert error.value.fault == "provider"


@pytest.mark.parametrize(
    ("base_url", "words"),
    [
        ("http://127.0.0.1:9/v1", r"cannot connect to http://127\.0\.0\.1:9/v1: "),
        ("http://me:secret@127.0.0.1:9/v1", r"cannot connect to http://127\.0\.0\.1:9/v1: "),
        ("ftp://127.0.0.1", "is no usable base URL"),
        ("http://127.0.0.1:x/v1", "no usable base URL"),
        ("", "no usable base URL"),
    ],
)
def test_address_that_leads_nowhere_is_said(base_url: str, words: str) -> None:
    """No connection, and what is no address, are clear errors that show no password."""

    async def talk() -> None:
        async with aiohttp.ClientSession() as http:
            from runner.gateway.providers.openai import OpenAIProvider

            endpoint = Endpoint(http=http, base_url=base_url, key=SecretStr(KEY))
            await OpenAIProvider(endpoint=endpoint).answer(ask())

    with pytest.raises(Refused, match=words) as error:
        asyncio.run(talk())
    assert "secret" not in error.value.message


def test_certificate_that_nobody_vouches_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate error names itself, and is not tried again."""
    key = aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None)

    async def fails(*_: object, **__: object) -> None:
        raise aiohttp.ClientConnectorCertificateError(key, ssl.SSLCertVerificationError("self-signed"))

    async def talk() -> None:
        from runner.gateway.providers.openai import OpenAIProvider

        async with aiohttp.ClientSession() as http:
            monkeypatch.setattr(http, "_request", fails)
            endpoint = Endpoint(http=http, base_url="https://lab/v1", key=None)
            await OpenAIProvider(endpoint=endpoint).answer(ask())

    with pytest.raises(Refused, match="the certificate of https://lab/v1 is not trusted") as error:
        asyncio.run(talk())
    assert error.value.retry is False


def test_large_request_is_sent_whole(converse: Any) -> None:
    """A request with images in it, of many megabytes, reaches the provider byte for byte."""
    content = json.dumps({"image": "x" * (8 << 20)}).encode()
    got: list[bytes] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        got.append(await request.read())
        return web.Response(body=ANSWER)

    converse(handle, ask(content=content), **OPENAI)
    assert got == [content]


def test_headers_that_tell_of_limits_come_back(converse: Any) -> None:
    """What SDKs read of a provider's limits is passed back; cookies and servers' names are not."""
    kept = {"x-ratelimit-remaining-tokens": "5", "anthropic-ratelimit-x": "1", "retry-after-ms": "9", "request-id": "r"}

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, body=ANSWER, headers={**kept, "Set-Cookie": "a=b", "X-Other": "c"})

    reply, body = converse(handle, ask(), **OPENAI)
    assert (reply.status, body, reply.fault) == (429, ANSWER, "provider")
    assert {name: value for name, value in reply.headers.items() if name != "content-type"} == kept


@pytest.mark.parametrize("path", ["/v1@127.0.0.1:9/steal", "/v1.example.org/steal", "/v10/steal"])
@pytest.mark.parametrize("model", [OPENAI, AZURE, CLAUDE])
def test_path_leads_the_key_to_no_other_host(*, converse: Any, model: dict[str, Any], path: str) -> None:
    """Behind an endpoint without a path, what a framework makes up as one stays a path."""
    seen: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request.raw_path)
        return web.Response(body=ANSWER)

    converse(handle, ask(path, "other"), **model)
    assert [one.endswith(path) for one in seen] == [True]


def test_address_of_another_host_is_not_asked() -> None:
    """However an address was put together, it is the endpoint's, or it is refused."""

    async def go() -> None:
        async with aiohttp.ClientSession() as http:
            endpoint = Endpoint(http=http, base_url="http://127.0.0.1:9", key=SecretStr(KEY))
            await send(endpoint, ask(), "http://127.0.0.1:9@127.0.0.2/x", {})

    with pytest.raises(Refused, match="the path leads to another host"):
        asyncio.run(go())


def test_word_in_place_of_a_key_is_left_in_answers(converse: Any) -> None:
    """An endpoint that wants no key is given any word, and answers may hold that word."""

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"index":"x"}', content_type="application/json")

    _, body = converse(handle, ask(), key="x", **OPENAI)
    assert body == b'{"index":"x"}'
