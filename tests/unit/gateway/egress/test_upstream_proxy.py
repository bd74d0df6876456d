"""Hosts that are reached through this machine's own proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.egress import CREDENTIALS, connect_to, go, host, world

from runner.gateway.egress.upstream import Unreachable, choose_proxy

PROXIES = {"http": "http://me:p%40ss@proxy.example:3128", "https": "proxy.example:3129", "no": "inner.example,10.0.0.1"}


@pytest.mark.parametrize(
    ("scheme", "name", "port", "expected"),
    [
        ("http", "example.org", 80, ("proxy.example", 3128, "Basic bWU6cEBzcw==")),
        ("https", "example.org", 443, ("proxy.example", 3129, "")),
        ("https", "inner.example", 443, None),
        ("https", "git.inner.example", 443, None),
        ("https", "10.0.0.1", 443, None),
        ("https", "localhost", 443, None),
        ("https", "127.0.0.1", 443, None),
    ],
)
def test_proxy_of_the_environment_is_chosen(
    scheme: str, name: str, port: int, expected: tuple[str, int, str] | None
) -> None:
    """HTTP_PROXY, HTTPS_PROXY and NO_PROXY count as everywhere, and this machine is never asked for elsewhere."""
    found = choose_proxy(PROXIES, scheme, name, port)
    assert (found and (found.host, found.port, found.credentials)) == expected


def test_proxy_of_another_kind_is_said() -> None:
    """A SOCKS proxy is not spoken to, and the message says that."""
    with pytest.raises(Unreachable, match="one for socks5"):
        choose_proxy({"all": "socks5://proxy.example"}, "https", "example.org", 443)


def test_tunnel_through_the_proxy(tmp_path: Path) -> None:
    """A tunnel is asked for at the machine's proxy, with its own credentials and never with the run's token."""
    heads: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.0 200 fine\r\nX: y\r\n\r\nhello")
        writer.write(await reader.read())

    async def scenario() -> bytes:
        async with host(proxy) as port:
            proxies = {"https": f"http://me:secret@127.0.0.1:{port}"}
            async with world(tmp_path, allow=("example.org",), proxies=proxies) as session:
                return await session.say(connect_to(443, "example.org") + " you")

    assert go(scenario()) == b"HTTP/1.1 200 Connection established\r\n\r\nhello you"
    assert heads == [
        "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
    ]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"", b"garbage\r\n\r\n"])
def test_proxy_that_refuses_is_502(tmp_path: Path, answer: bytes) -> None:
    """A proxy that gives no tunnel is an error in words."""

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async def scenario() -> bytes:
        async with host(proxy) as port:
            proxies = {"https": f"http://127.0.0.1:{port}"}
            async with world(tmp_path, allow=("example.org",), proxies=proxies) as session:
                return await session.say(connect_to(443, "example.org"))

    said = go(scenario())
    assert said.startswith(b"HTTP/1.1 502 ")
    assert b"this machine's proxy" in said


def test_plain_request_through_the_proxy(tmp_path: Path) -> None:
    """A plain request goes to the machine's proxy with its address in full."""
    heads: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def scenario() -> bytes:
        async with host(proxy) as port:
            proxies = {"http": f"http://me:secret@127.0.0.1:{port}"}
            async with world(tmp_path, allow=("example.org",), proxies=proxies) as session:
                return await session.say(f"GET http://example.org/a HTTP/1.1\r\nHost: example.org\r\n{CREDENTIALS}\r\n")

    assert go(scenario()).endswith(b"\r\n\r\nok")
    assert heads[0].split("\r\n")[:4] == [
        "GET http://example.org/a HTTP/1.1",
        "Host: example.org",
        "Proxy-Authorization: Basic bWU6c2VjcmV0",
        "Connection: close",
    ]
