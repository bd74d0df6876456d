"""Who gets a connection: the web server or the proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.egress import go, world

from runner.gateway.egress import switch


@pytest.mark.parametrize(
    "target", ["/v1/models", "http://127.0.0.1:4000/v1/models", "http://run:x@localhost:4000/v1/models"]
)
def test_ordinary_requests_go_to_the_web_server(tmp_path: Path, target: str) -> None:
    """A path, or the gateway's own address in full, is for the web server, with the body that came with it."""

    async def scenario() -> list[str]:
        async with world(tmp_path) as session:
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
            answer = await session.say(head + "body", finish=False)
            assert answer.endswith(b"model 4")
            return session.seen

    assert go(scenario()) == ["POST /v1/models"]


def test_head_may_come_in_pieces(tmp_path: Path) -> None:
    """A head that arrives byte by byte is put together, and the connection stays open for further requests."""

    async def scenario() -> list[str]:
        async with world(tmp_path) as session:
            reader, writer = await session.connect()
            for byte in b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n":
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            await reader.readuntil(b"model 0")
            writer.write(b"GET /two HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"model 0")
            writer.close()
            return session.seen

    assert go(scenario()) == ["GET /one", "GET /two"]


def test_head_that_does_not_end_is_closed(tmp_path: Path) -> None:
    """A connection that does not say what it wants is closed after its time."""

    async def scenario() -> bytes:
        async with world(tmp_path, head_seconds=0.2) as session:
            reader, writer = await session.connect()
            writer.write(b"GET /one HTTP/1.1\r\nHost:")
            found = await reader.read()
            writer.close()
            return found

    assert go(scenario()) == b""


@pytest.mark.parametrize("end", ["", "\r\n\r\n"])
def test_head_without_bounds_is_431(tmp_path: Path, end: str) -> None:
    """A head of more than 64 KiB is refused, whether or not it ends."""

    async def scenario() -> tuple[bytes, list[str]]:
        async with world(tmp_path) as session:
            return await session.say(f"GET /one HTTP/1.1\r\nX: {'x' * 70_000}{end}"), session.seen

    answer, seen = go(scenario())
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert seen == []


def test_connections_of_one_session_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection too many is turned away in words; when others have gone there is room again."""
    monkeypatch.setattr(switch, "MOST", 2)

    async def scenario() -> tuple[bytes, bytes]:
        async with world(tmp_path) as session:
            held = [await session.connect() for _ in range(2)]
            await asyncio.sleep(0.05)
            reader, writer = await session.connect()
            refused = await reader.read()
            writer.close()
            for _, other in held:
                other.close()
            await asyncio.sleep(0.05)
            served = await session.say("GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", finish=False)
            return refused, served

    refused, served = go(scenario())
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert refused.endswith(b"this step has 2 connections already\n")
    assert served.endswith(b"model 0")


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("/v1/models?a=http://x/", "/v1/models?a=http://x/"),
        ("http://127.0.0.1:4000/v1/files/a%2Fb?x=1", "/v1/files/a%2Fb?x=1"),
        ("http://run:t@localhost:4000", "/"),
        ("http://localhost:4000@example.org/v1", None),
        ("http://example.org/v1", None),
        ("http://[::1/v1", None),
    ],
)
def test_own_address_is_taken_off_a_target(target: str, own: str | None) -> None:
    """What follows the gateway's own address is its path; any other address is none of its own."""
    assert switch.own_target(target) == own
