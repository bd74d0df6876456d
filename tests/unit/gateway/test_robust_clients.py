"""Clients that misbehave: bounded memory, bounded time, a clear status, a line in the record, others unharmed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import http.client
import json
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.endpoints import behaving
from support.talk import CHAT, ask, connect, head, memory, raw, read_all, say

from runner.gateway.budgets import spent_by
from runner.gateway.calls import read_calls
from runner.gateway.client import GatewayProcess, start_gateway
from runner.gateway.recording import was_answered
from runner.gateway.session import Session, SessionSpec
from runner.gateway.settings import GatewaySettings
from runner.spec.model import Model, Traffic

pytestmark = pytest.mark.processes

Spec = Callable[..., SessionSpec]
Calls = Callable[[], list[dict[str, Any]]]
MIB = 1 << 20
CROWD = 200
ANSWERS = "version: 1\nsteps: {one: [{content: x}, {content: y}]}"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 1000 + b'"},"finish_reason":null}]}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def behind(url: str) -> Model:
    """Return a model at an endpoint."""
    return Model(provider="openai", name="m", base_url=f"{url}/v1")


def flood(connection: socket.socket, _: bytes) -> None:
    """Send a stream without an end, as fast as it is taken."""
    connection.sendall(STREAM)
    while True:
        connection.sendall(EVENT * 64)


def test_slow_reader_costs_no_memory_and_harms_nobody(
    gateway: GatewayProcess, make_spec: Spec, calls: Calls, wait_until: Any
) -> None:
    """A client that does not read a big stream stops it: little is kept for it, others are served, its end is recorded."""
    other = gateway.open(make_spec(answers=ANSWERS, attempt=2))
    with behaving(flood) as url:
        slow = gateway.open(make_spec(model=behind(url)))
        body = json.dumps(say(stream=True)).encode()
        before = memory(gateway.pid)
        with connect(slow) as connection:
            connection.sendall(head(slow, f"Content-Length: {len(body)}") + body)
            for _ in range(8):
                assert connection.recv(1)
                time.sleep(0.1)
            start = time.monotonic()
            status, _ = ask(other, say())
            took, grown = time.monotonic() - start, memory(gateway.pid) - before
        wait_until(lambda: any(call["attempt"] == 1 for call in calls()))
        gateway.close(slow)
    gateway.close(other)
    gone = next(call for call in calls() if call["attempt"] == 1)
    assert status == 200
    assert took < 15
    assert grown < 32 * MIB
    assert gone["error"] is None
    assert (gone["client_gone"], gone["usage_source"]) == (True, "unknown")
    assert gone["response_bytes"] < 16 * MIB


def test_reader_that_stopped_for_good_is_given_up(
    gateway: GatewayProcess, make_spec: Spec, calls: Calls, wait_until: Any
) -> None:
    """A client that never reads on, but stays, is given up: the provider is not kept busy for it for ever."""
    with behaving(flood) as url:
        session = gateway.open(make_spec(model=behind(url)))
        body = json.dumps(say(stream=True)).encode()
        with connect(session) as connection:
            connection.sendall(head(session, f"Content-Length: {len(body)}") + body)
            wait_until(calls)
            (call,) = calls()
        gateway.close(session)
    assert call["client_gone"]


def test_half_open_connections_harm_nobody(gateway: GatewayProcess, make_spec: Spec, calls: Calls) -> None:
    """Connections that never send a whole request block nobody, and the session closes without waiting for them."""
    session = gateway.open(make_spec(answers=ANSWERS))
    before = memory(gateway.pid)
    parts = [b"", b"POST ", head(session, "Content-Length: 100")[:-2], head(session, "Content-Length: 100") + b"{"]
    crowd = [connect(session) for _ in range(CROWD)]
    for number, connection in enumerate(crowd):
        connection.sendall(parts[number % len(parts)])
    status, _ = ask(session, say())
    grown, start = memory(gateway.pid) - before, time.monotonic()
    totals = gateway.close(session)
    took = time.monotonic() - start
    ends = [read_all(connection) for connection in crowd]
    for connection in crowd:
        connection.close()
    assert status == 200
    assert len(ends) == CROWD
    assert took < 30
    assert grown < 32 * MIB
    assert [call["status"] for call in calls()].count(200) == 1
    assert totals.api_calls == len(calls())


@pytest.mark.parametrize(
    "lines",
    [["X-Much: " + "x" * 200_000], [f"X-{number}: {'y' * 900}" for number in range(3000)]],
    ids=["one long line", "many lines"],
)
def test_oversized_headers_are_refused(
    gateway: GatewayProcess, make_spec: Spec, calls: Calls, lines: list[str]
) -> None:
    """A head beyond the bound is answered with 431, recorded, and the connection ends."""
    session = gateway.open(make_spec(answers=ANSWERS))
    before = memory(gateway.pid)
    with connect(session) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head(session, *lines, "Content-Length: 2") + b"{}")
        answer = read_all(connection)
    grown = memory(gateway.pid) - before
    assert ask(session, say())[0] == 200
    gateway.close(session)
    assert answer.split()[1] == b"431"
    assert grown < 32 * MIB
    assert sorted((call["status"], call["fault"]) for call in calls()) == [(200, None), (431, "framework")]


def test_head_without_an_end_is_bounded(gateway: GatewayProcess, make_spec: Spec) -> None:
    """A header that never ends is cut off long before it fills the memory."""
    session = gateway.open(make_spec(answers=ANSWERS))
    before, sent = memory(gateway.pid), 0
    with connect(session) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(f"GET {CHAT} HTTP/1.1\r\nX-Much: ".encode())
        while sent < 64 * MIB:
            connection.sendall(b"x" * 65536)
            sent += 65536
    assert sent < 8 * MIB
    assert memory(gateway.pid) - before < 32 * MIB
    assert ask(session, say())[0] == 200
    gateway.close(session)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"text"', b"\xff\xfe{}", b'{"messages": [' + b"[" * 100_000],
    ids=["empty", "cut", "list", "text", "no UTF-8", "deep"],
)
def test_malformed_body_is_a_sentence(gateway: GatewayProcess, make_spec: Spec, calls: Calls, body: bytes) -> None:
    """A body that is no JSON object is answered with 400 and a sentence, and recorded as the framework's doing."""
    session = gateway.open(make_spec(answers=ANSWERS))
    status, content = ask(session, body)
    gateway.close(session)
    (call,) = calls()
    assert status == 400
    assert "JSON" in json.loads(content)["error"]["message"]
    assert (call["status"], call["fault"], call["usage_source"]) == (400, "framework", "no answer")


def test_client_that_promises_more_than_it_sends(gateway: GatewayProcess, make_spec: Spec, calls: Calls) -> None:
    """A body that ends before its stated length is no call to a model, but stands in the record."""
    session = gateway.open(make_spec(answers=ANSWERS))
    raw(session, head(session, "Content-Length: 1000") + b'{"model": "m"', end=True)
    totals = gateway.close(session)
    (call,) = calls()
    assert (call["status"], call["fault"], call["client_gone"]) == (400, "framework", True)
    assert call["model_sent"] is None
    assert totals.last_error == ""


def test_client_that_sends_more_than_it_promised(gateway: GatewayProcess, make_spec: Spec, calls: Calls) -> None:
    """What goes beyond the stated length is no part of the call, and no call of its own: the connection ends, recorded."""
    session = gateway.open(make_spec(answers=ANSWERS))
    body = json.dumps(say()).encode()
    with connect(session) as connection:
        connection.sendall(head(session, f"Content-Length: {len(body)}") + body)
        first = connection.recv(65536)
        connection.sendall(b"and more\r\n\r\n")
        more = read_all(connection)
    gateway.close(session)
    assert (first.split()[1], more.split()[1]) == (b"200", b"400")
    assert [(call["status"], call["usage_source"]) for call in calls()] == [(200, "rule"), (400, "no answer")]


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2"])
def test_length_that_is_none(gateway: GatewayProcess, make_spec: Spec, calls: Calls, length: str) -> None:
    """A length that is no number is refused at once, recorded, and the connection ends."""
    session = gateway.open(make_spec(answers=ANSWERS))
    answer = raw(session, head(session, f"Content-Length: {length}") + b"{}", seconds=10)
    assert ask(session, say())[0] == 200
    gateway.close(session)
    assert answer.split()[1] == b"400"
    assert sorted((call["status"], call["fault"]) for call in calls()) == [(200, None), (400, "framework")]


def test_length_beyond_all_bounds_is_waited_for_no_longer_than_any_other(
    gateway: GatewayProcess, make_spec: Spec, calls: Calls
) -> None:
    """A length of exabytes reserves nothing: the call ends with its session, and is recorded."""
    session = gateway.open(make_spec(answers=ANSWERS))
    before = memory(gateway.pid)
    with connect(session) as connection:
        connection.sendall(head(session, "Content-Length: 999999999999999999") + b"{" * MIB)
        assert ask(session, say())[0] == 200
        grown = memory(gateway.pid) - before
        gateway.close(session)
    assert grown < 32 * MIB
    assert sorted(call["status"] for call in calls()) == [0, 200]


def test_many_connections_at_once_are_all_answered(
    settings: GatewaySettings, make_spec: Spec, calls: Calls, upstream: Any
) -> None:
    """Two hundred clients at once each get their answer, each is recorded once, with numbers from 1 on."""

    async def everybody() -> list[int]:
        return await asyncio.gather(*(_call(session) for _ in range(CROWD)))

    # Endpoint and clients share this process, which may take its time over so many.
    with start_gateway(dataclasses.replace(settings, read_timeout=100.0)) as gateway:
        assert isinstance(gateway, GatewayProcess)
        session = gateway.open(make_spec(model=upstream.model("slow")))
        before = memory(gateway.pid)
        statuses = asyncio.run(everybody())
        grown = memory(gateway.pid) - before
        gateway.close(session)
    assert statuses == [200] * CROWD
    assert sorted(call["n"] for call in calls()) == list(range(1, CROWD + 1))
    assert grown < 100 * MIB


async def _call(session: Session) -> int:
    reader, writer = await asyncio.open_unix_connection(session.directory / "gateway.sock")
    body = json.dumps(say()).encode()
    try:
        writer.write(head(session, f"Content-Length: {len(body)}", "Connection: close") + body)
        return int((await reader.read()).split()[1])
    finally:
        writer.close()


def test_tokens_open_their_own_session_only(gateway: GatewayProcess, make_spec: Spec, calls: Calls) -> None:
    """Another run's token, or none, is refused with 401 and gets no answer; folders are their owner's alone."""
    mine, other = gateway.open(make_spec(answers=ANSWERS)), gateway.open(make_spec(answers=ANSWERS, attempt=2))
    status, _ = ask(mine, say(), token=other.token)
    nobody, _ = ask(mine, say(), token="no token")
    modes = {path.stat().st_mode & 0o077 for path in (gateway.folder, *gateway.folder.iterdir())}
    inside = {path.name for path in mine.directory.iterdir()}
    gateway.close(mine)
    gateway.close(other)
    assert (status, nobody) == (401, 401)
    assert all(call["usage_source"] == "no answer" for call in calls())
    assert gateway.folder.stat().st_mode & 0o077 == 0
    assert modes
    assert inside == {"gateway.sock"}


def test_session_closes_while_a_client_talks(gateway: GatewayProcess, make_spec: Spec, calls: Calls) -> None:
    """A stream without an end does not keep a session open: it is cut after the drain, and recorded."""
    begun, ended = threading.Event(), threading.Event()

    def begin(connection: socket.socket, request: bytes) -> None:
        begun.set()
        flood(connection, request)

    with behaving(begin) as url:
        session = gateway.open(make_spec(model=behind(url)))

        def read() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(session, say(stream=True))
            ended.set()

        thread = threading.Thread(target=read)
        thread.start()
        assert begun.wait(60)
        start = time.monotonic()
        totals = gateway.close(session)
        took = time.monotonic() - start
        assert ended.wait(60)
        thread.join()
    assert took < 30
    assert totals.api_calls == len(calls()) == 1
    assert calls()[0]["usage_source"] == "unknown"


def test_call_to_the_gateways_address_in_full_is_a_call(gateway: GatewayProcess, make_spec: Spec, calls: Calls) -> None:
    """A client that takes the gateway for a proxy on the way to the gateway is answered all the same."""
    session = gateway.open(make_spec(answers=ANSWERS))
    body = json.dumps(say()).encode()
    data = (
        head(session, f"Content-Length: {len(body)}", "Connection: close", path=f"http://127.0.0.1:4000{CHAT}") + body
    )
    assert raw(session, data).startswith(b"HTTP/1.1 200 ")
    gateway.close(session)
    assert [(call["path"], call["error"]) for call in calls()] == [(CHAT, None)]


def taken(connection: socket.socket) -> bool:
    """Tell whether the other side has read all that was sent; see unix(7), SIOCOUTQ."""
    return not int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def test_nobody_is_asked_for_a_framework_that_has_gone(
    settings: GatewaySettings, make_spec: Spec, tmp_path: Path, wait_until: Any
) -> None:
    """A call whose framework goes while it waits its turn costs nothing, is no answer to replay, and has its line."""
    one_at_a_time = dataclasses.replace(settings, read_timeout=100.0, traffic=Traffic(concurrency=1))
    asked, gone_by = threading.Event(), threading.Event()

    def slow(connection: socket.socket, _: bytes) -> None:
        asked.set()
        gone_by.wait(60)
        answer = json.dumps({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
        connection.sendall(WHOLE + f"Content-Length: {len(answer)}\r\n\r\n".encode() + answer)

    with behaving(slow) as url, start_gateway(one_at_a_time) as gateway:
        session = gateway.open(make_spec(model=behind(url)))
        body = json.dumps(say()).encode()
        data = head(session, f"Content-Length: {len(body)}", "Connection: close") + body
        with connect(session) as first:
            first.sendall(data)
            assert asked.wait(60)
            with connect(session) as second:
                second.sendall(data)
                wait_until(lambda: taken(second))
                time.sleep(0.3)
            time.sleep(0.3)
            gone_by.set()
            assert read_all(first).startswith(b"HTTP/1.1 200 ")
        file = tmp_path / "run" / "llm" / "calls.jsonl"
        wait_until(lambda: len(read_calls(file).calls) > 1)
        gateway.close(session)
    _, gone = sorted(read_calls(file).calls, key=lambda call: call.n)
    assert (gone.client_gone, gone.status, gone.model_sent, gone.usage_source) == (True, 499, None, "no answer")
    assert spent_by([gone]).calls == 0
    assert not was_answered(gone)
