"""The proxy of a session, seen from a step, with hosts on loopback."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from support.egress import CREDENTIALS, connect_to, echo, go, host, world

from runner.gateway.egress.upstream import Resolve
from runner.gateway.session import Denied


def test_allowed_host_is_reached_through_a_tunnel(tmp_path: Path) -> None:
    """Bytes pass both ways unchanged through a tunnel, and the connection is recorded with how many they were."""

    async def scenario() -> None:
        async with host(echo) as port, world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
            data = bytes(range(256)) * 8000
            answer = await session.say(connect_to(port).encode() + data)
            assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n" + data
            (line,) = await session.until_recorded(1)
        assert (line.kind, line.host, line.port, line.allowed, line.status) == ("tunnel", "127.0.0.1", port, True, 200)
        assert (line.bytes_up, line.bytes_down, line.ended, line.reason) == (len(data), len(data), "done", "")
        assert (line.run, line.step, line.attempt) == ("demo-r1-0", "one", 1)

    go(scenario())


def test_host_that_no_pattern_names_is_denied(tmp_path: Path) -> None:
    """A denied host is told what to write, is counted once per host, and nobody is asked."""

    async def scenario() -> None:
        async with host(echo) as port, world(tmp_path, allow=("example.org",)) as session:
            for _ in range(3):
                answer = await session.say(connect_to(port))
            assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
            assert f"to allow it write `allow: [127.0.0.1:{port}]`".encode() in answer
            await session.say(f"GET http://other.example/x HTTP/1.1\r\nHost: other.example\r\n{CREDENTIALS}\r\n")
            assert session.egress.denied == (
                Denied(host="127.0.0.1", port=port, times=3),
                Denied(host="other.example", port=80, times=1),
            )
            lines = await session.until_recorded(4)
        assert {(line.allowed, line.ended, line.status) for line in lines} == {(False, "refused", 403)}
        assert lines[0].reason.startswith(f"no pattern allows 127.0.0.1 port {port}")

    go(scenario())


def test_denials_outlive_the_process(tmp_path: Path) -> None:
    """A session that is opened again, after the gateway died, knows whom it has denied, for its own attempt."""

    async def scenario() -> tuple[Denied, ...]:
        async with world(tmp_path, allow=("example.org",)) as session:
            await session.say(connect_to(1, "other.example"))
            await session.say(connect_to(1, "other.example", credentials=""))
            return session.egress.denied

    assert go(scenario()) == (Denied(host="other.example", port=1, times=1),)
    assert go(scenario()) == (Denied(host="other.example", port=1, times=2),)


@pytest.mark.parametrize(
    "credentials", ["", "Proxy-Authorization: Basic cnVuOm90aGVy\r\n", "Proxy-Authorization: x\r\n"]
)
def test_token_is_wanted(tmp_path: Path, credentials: str) -> None:
    """Without the session's token there is a challenge and no connection, and no host counts as denied."""

    async def scenario() -> None:
        async with host(echo) as port, world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
            answer = await session.say(connect_to(port, credentials=credentials))
            assert answer.startswith(b"HTTP/1.1 407 Proxy Authentication Required\r\n")
            assert b"Proxy-Authenticate: Basic" in answer
            assert session.egress.denied == ()
            (line,) = await session.until_recorded(1)
        assert (line.allowed, line.status) == (False, 407)

    go(scenario())


def test_name_that_leads_to_this_machine_is_denied(tmp_path: Path) -> None:
    """A name that is allowed, and leads to loopback by whatever trick, reaches nothing; the advice names the address."""

    async def scenario() -> None:
        resolve = _resolver({"rebound.example": "127.0.0.1"})
        async with (
            host(echo) as port,
            world(tmp_path, allow=(f"rebound.example:{port}",), resolve=resolve) as session,
        ):
            answer = await session.say(connect_to(port, "rebound.example"))
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"rebound.example leads to 127.0.0.1" in answer
            assert session.egress.denied == (Denied(host="127.0.0.1", port=port, times=1),)

    go(scenario())


def test_name_below_a_domain_stays_out_of_the_site(tmp_path: Path) -> None:
    """What a wildcard allows may lead to public addresses only; the advice is to name the host."""

    async def scenario() -> tuple[Denied, ...]:
        resolve = _resolver({"wiki.lab.example": "10.1.2.3"})
        async with world(tmp_path, allow=("*.lab.example",), resolve=resolve) as session:
            assert b"wiki.lab.example leads to 10.1.2.3" in await session.say(connect_to(443, "wiki.lab.example"))
            return session.egress.denied

    assert go(scenario()) == (Denied(host="wiki.lab.example", port=443, times=1),)


def test_localhost_by_name_is_this_machine(tmp_path: Path) -> None:
    """Who allows localhost means this machine."""

    async def scenario() -> bytes:
        async with host(echo) as port, world(tmp_path, allow=(f"localhost:{port}",)) as session:
            return await session.say(connect_to(port, "localhost") + "hi")

    assert go(scenario()).endswith(b"\r\n\r\nhi")


def _resolver(known: dict[str, str]) -> Resolve:
    async def resolve(name: str, _port: int) -> list[str]:
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [known[name]]

    return resolve


def test_unknown_name_is_502(tmp_path: Path) -> None:
    """An allowed name that leads nowhere is told so, as no denial."""

    async def scenario() -> None:
        async with world(tmp_path, allow=("nowhere.example",), resolve=_resolver({})) as session:
            answer = await session.say(connect_to(443, "nowhere.example"))
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"the name nowhere.example leads to no address" in answer
            (line,) = await session.until_recorded(1)
        assert (line.allowed, line.ended) == (True, "unreachable")
        assert session.egress.denied == ()

    go(scenario())


def test_nobody_listening_is_502(tmp_path: Path) -> None:
    """An allowed host that refuses the connection is told so."""

    async def scenario() -> bytes:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            async with world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
                return await session.say(connect_to(port))

    assert b"Connection refused" in go(scenario())


def test_plain_request_is_passed_on(tmp_path: Path) -> None:
    """A plain request reaches the host as if it had been asked directly, and its answer ends the connection."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        body = await reader.readexactly(3)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        answer = b"HTTP/1.1 201 Created\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\nX-Own: 1\r\n"
        writer.write(answer + b"Content-Length: 3\r\n\r\n" + body)

    async def scenario() -> None:
        async with host(serve) as port, world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
            where = f"127.0.0.1:{port}"
            request = (
                f"POST http://user@{where}/a/b?c=d HTTP/1.1\r\nHost: elsewhere.example\r\n{CREDENTIALS}"
                "Proxy-Connection: keep-alive\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nX-Kept: 2\r\n"
                "Content-Length: 3\r\n\r\nabc"
            )
            answer = (await session.say(request)).decode()
            (line,) = await session.until_recorded(1)
        assert heads[0].split("\r\n")[:2] == ["POST /a/b?c=d HTTP/1.1", f"Host: {where}"]
        assert heads[0].split("\r\n")[2:5] == ["X-Kept: 2", "Content-Length: 3", "Connection: close"]
        assert answer.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nX-Own: 1\r\n")
        assert answer.endswith("Connection: close\r\n\r\nabc")
        assert (line.kind, line.status, line.bytes_up, line.bytes_down) == ("http", 201, 3, 3)

    go(scenario())


@pytest.mark.parametrize("spoken", [b"SSH-2.0-x\r\n\r\n", b"", b"HTTP/1.1 2x0 no\r\n\r\n"])
def test_host_that_speaks_something_else_is_502(tmp_path: Path, spoken: bytes) -> None:
    """A host whose answer is no HTTP gives a clear error, not its bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(spoken)

    async def scenario() -> bytes:
        async with host(serve) as port, world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
            answer = await session.say(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n{CREDENTIALS}\r\n")
            (line,) = await session.until_recorded(1)
            assert (line.status, line.ended) == (502, "unreachable")
            return answer

    assert go(scenario()).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


@pytest.mark.parametrize(
    "request_line",
    [
        "CONNECT 127.0.0.1 HTTP/1.1",
        "CONNECT 127.0.0.1:0 HTTP/1.1",
        "CONNECT 127.0.0.1:99999 HTTP/1.1",
        "CONNECT ::1:443 HTTP/1.1",
        "CONNECT 127.1:443 HTTP/1.1",
        "GET ftp://example.org/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://example.org/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        "GET http://example.org/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        "GET http://example.org/ HTTP/1.1\r\n folded: x",
        "GET http://example.org/ more HTTP/1.1",
    ],
)
def test_request_that_makes_no_sense_is_400(tmp_path: Path, request_line: str) -> None:
    """A malformed or ambiguous proxy request is refused before anybody is asked."""

    async def scenario() -> bytes:
        async with world(tmp_path, allow=("example.org",)) as session:
            return await session.say(f"{request_line}\r\n{CREDENTIALS}\r\n")

    assert go(scenario()).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_half_closed_tunnel_is_answered(tmp_path: Path) -> None:
    """A step that has finished sending still gets what the host says afterwards."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        await asyncio.sleep(0.1)
        writer.write(b"%d bytes" % len(data))

    async def scenario() -> bytes:
        async with host(serve) as port, world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
            return await session.say(connect_to(port) + "12345")

    assert go(scenario()).endswith(b"5 bytes")


def test_tunnel_in_which_nothing_moves_is_closed(tmp_path: Path) -> None:
    """A connection without movement ends after its time, and says so."""

    async def scenario() -> None:
        async with (
            host(echo) as port,
            world(tmp_path, allow=(f"127.0.0.1:{port}",), idle_seconds=2.0) as session,
        ):
            reader, writer = await session.connect()
            writer.write(connect_to(port).encode() + b"x")
            assert (await reader.read()).endswith(b"x")
            (line,) = await session.until_recorded(1)
            writer.close()
        assert (line.ended, line.bytes_up, line.bytes_down) == ("idle", 1, 1)

    go(scenario())


def test_reader_that_does_not_read_holds_little(tmp_path: Path) -> None:
    """A host that sends without end to a step that does not read is made to wait: memory stays bounded."""
    sent = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async def scenario() -> None:
        async with (
            host(serve) as port,
            world(tmp_path, allow=(f"127.0.0.1:{port}",), idle_seconds=0.5) as session,
        ):
            with socket.socket(socket.AF_UNIX) as client:
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, str(session.socket))
                await loop.sock_sendall(client, connect_to(port).encode())
                (line,) = await session.until_recorded(1)
            assert line.ended == "idle"
            assert line.bytes_down < 4 << 20
            assert sent < 16 << 20

    go(scenario())


def test_closing_session_ends_its_connections(tmp_path: Path) -> None:
    """A tunnel that is open when the session closes ends there and is recorded as far as it got."""

    async def scenario() -> None:
        async with host(echo) as port, world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
            reader, writer = await session.connect()
            writer.write(connect_to(port).encode() + b"abc")
            await reader.readuntil(b"abc")
            await session.egress.close()
            assert await reader.read() == b""
            (line,) = session.connections
            writer.close()
        assert (line.ended, line.bytes_up, line.bytes_down) == ("closed", 3, 3)

    go(scenario())


def test_connections_that_cannot_be_recorded_are_not_made(tmp_path: Path) -> None:
    """Once a line could not be written, no further connection is let through, and the step hears why."""

    async def scenario() -> bytes:
        (tmp_path / "connections.jsonl").symlink_to("/dev/full")
        async with host(echo) as port, world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
            assert b"200 Connection" in await session.say(connect_to(port))
            async with asyncio.timeout(60):
                await asyncio.wait(session.egress.tasks or {asyncio.ensure_future(asyncio.sleep(0))})
            return await session.say(connect_to(port))

    answer = go(scenario())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"connections cannot be recorded in connections.jsonl: No space left on device" in answer


def test_too_many_connections_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has a bounded number of connections at once."""
    monkeypatch.setattr("runner.gateway.egress.egress.MOST", 2)

    async def scenario() -> list[bytes]:
        async with host(echo) as port, world(tmp_path, allow=(f"127.0.0.1:{port}",)) as session:
            open_ends = [await session.connect() for _ in range(2)]
            for reader, writer in open_ends:
                writer.write(connect_to(port).encode())
                await reader.readuntil(b"\r\n\r\n")
            answers = [await session.say(connect_to(port))]
            for _, writer in open_ends:
                writer.close()
            await session.until_recorded(3)
            answers.append(await session.say(connect_to(port) + "x"))
            return answers

    refused, served = go(scenario())
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert served.endswith(b"x")
