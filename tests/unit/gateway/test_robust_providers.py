"""Providers that misbehave: bounded memory, bounded time, a clear status, a line in the record."""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.endpoints import Behaviour, behaving
from support.talk import ask, memory, say

from runner.gateway.client import GatewayProcess
from runner.gateway.session import SessionSpec
from runner.gateway.settings import GatewaySettings
from runner.spec.model import Model, Traffic

pytestmark = pytest.mark.processes

Spec = Callable[..., SessionSpec]
Calls = Callable[[], list[dict[str, Any]]]
MIB = 1 << 20
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 1000 + b'"},"finish_reason":null}]}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def gateway(settings: GatewaySettings) -> Iterator[GatewayProcess]:
    """Return a gateway that asks once for each call, however many have failed."""
    started = GatewayProcess(dataclasses.replace(settings, traffic=Traffic(retries=0, pause_after=1000)))
    yield started
    started.shutdown()


def behind(url: str) -> Model:
    """Return a model at an endpoint."""
    return Model(provider="openai", name="m", base_url=f"{url}/v1")


def endless_body(connection: socket.socket, _: bytes) -> None:
    """Send a body in one piece that never ends."""
    connection.sendall(WHOLE + b'\r\n{"x": "')
    while True:
        connection.sendall(b"x" * 65536)


def endless_stream(connection: socket.socket, _: bytes) -> None:
    """Send a stream of good events without an end, as fast as it is taken."""
    connection.sendall(STREAM)
    while True:
        connection.sendall(EVENT * 64)


def endless_event(connection: socket.socket, _: bytes) -> None:
    """Send one event that never ends."""
    connection.sendall(STREAM + b"data: ")
    while True:
        connection.sendall(b"x" * 65536)


def endless_header(connection: socket.socket, _: bytes) -> None:
    """Send a header that never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Much: ")
    while True:
        connection.sendall(b"x" * 65536)


def garbage(connection: socket.socket, _: bytes) -> None:
    """Send what is no HTTP at all."""
    connection.sendall(bytes(range(256)) * 16)


def short_body(connection: socket.socket, _: bytes) -> None:
    """Promise more than is sent."""
    connection.sendall(WHOLE + b"Content-Length: 1000\r\n\r\n{")


def nothing(connection: socket.socket, _: bytes) -> None:
    """End the connection without a word."""


def wrong_chunks(connection: socket.socket, _: bytes) -> None:
    """Send chunks whose lengths are no numbers."""
    connection.sendall(WHOLE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")


def stuck(connection: socket.socket, _: bytes) -> None:
    """Send the beginning of a stream, then nothing until the other side has gone."""
    connection.sendall(STREAM + EVENT)
    connection.recv(1)


def trickle(connection: socket.socket, _: bytes) -> None:
    """Send a whole answer in pieces of a few bytes, with pauses shorter than the provider's bound on silence."""
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    choice = {"index": 0, "message": {"role": "assistant", "content": "slow"}, "finish_reason": "stop"}
    body = json.dumps({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}).encode()
    connection.sendall(WHOLE + b"Content-Length: %d\r\n\r\n" % len(body))
    for start in range(0, len(body), 32):
        time.sleep(0.2)
        connection.sendall(body[start : start + 32])


@pytest.mark.parametrize(
    "behaviour",
    [garbage, short_body, nothing, wrong_chunks, endless_header, endless_body],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize("stream", [False, True])
def test_provider_that_sends_no_answer(
    gateway: GatewayProcess, make_spec: Spec, calls: Calls, behaviour: Behaviour, *, stream: bool
) -> None:
    """The client gets a 502 with a sentence, in bounded time and memory, and the call is recorded as the provider's fault."""
    with behaving(behaviour) as url:
        session = gateway.open(make_spec(model=behind(url)))
        pid, before, start = gateway.pid, memory(gateway.pid), time.monotonic()
        status, content = ask(session, say(stream=stream), 120)
        took, grown = time.monotonic() - start, memory(gateway.pid) - before
        gateway.close(session)
    (call,) = calls()
    assert status == 502
    assert json.loads(content)["error"]["message"] == call["error"]
    assert (call["status"], call["fault"], call["tokens_in"]) == (502, "provider", None)
    assert call["usage_source"] in {"no answer", "unknown"}
    assert took < 120
    assert grown < 160 * MIB
    assert gateway.pid == pid


def test_stream_that_gets_stuck_is_ended(gateway: GatewayProcess, make_spec: Spec, calls: Calls) -> None:
    """A provider that falls silent in the middle of a stream: the client gets an error event, the record the reason."""
    with behaving(stuck) as url:
        session = gateway.open(make_spec(model=behind(url)))
        status, content = ask(session, say(stream=True), 60)
        gateway.close(session)
    (call,) = calls()
    assert status == 200
    assert content.startswith(EVENT)
    assert b"error" in content[len(EVENT) :]
    assert (call["fault"], call["usage_source"]) == ("provider", "unknown")
    assert "in time" in call["error"]


@pytest.mark.parametrize("behaviour", [endless_stream, endless_event], ids=lambda one: one.__name__)
def test_stream_without_an_end_is_ended(
    gateway: GatewayProcess, make_spec: Spec, calls: Calls, behaviour: Behaviour
) -> None:
    """A stream, or an event in one, that goes beyond all bounds ends with an error event; little of it is kept."""
    with behaving(behaviour) as url:
        session = gateway.open(make_spec(model=behind(url)))
        before = memory(gateway.pid)
        status, content = ask(session, say(stream=True), 60)
        grown = memory(gateway.pid) - before
        gateway.close(session)
    (call,) = calls()
    assert status == 200
    assert len(content) < 80 * MIB
    assert b'"error"' in content[-1000:]
    assert grown < 160 * MIB
    assert "bytes" in call["error"]
    assert (call["fault"], call["usage_source"]) == ("provider", "unknown")


def test_trickling_provider_is_waited_for(gateway: GatewayProcess, make_spec: Spec, calls: Calls) -> None:
    """An answer that comes slowly, but comes, is answered and counted like any other."""
    with behaving(trickle) as url:
        session = gateway.open(make_spec(model=behind(url)))
        status, content = ask(session, say())
        gateway.close(session)
    (call,) = calls()
    assert (status, json.loads(content)["choices"][0]["message"]["content"]) == (200, "slow")
    assert (call["tokens_in"], call["tokens_out"], call["usage_source"]) == (11, 5, "provider")
