"""A session's ways out on a socket, with hosts on loopback behind them and clients in front."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from runner.gateway.egress.connections import NAME, Connection, read_connections
from runner.gateway.egress.egress import Egress
from runner.gateway.egress.index_settings import IndexSettings
from runner.gateway.egress.switch import make_protocol_factory
from runner.gateway.session import SessionSpec
from runner.spec.egress import Packages

TOKEN = "run-token"
CREDENTIALS = f"Proxy-Authorization: Basic {base64.b64encode(f'run:{TOKEN}'.encode()).decode()}\r\n"

_PATIENCE = 120.0
"""Seconds that anything may take on a busy machine."""

T = TypeVar("T")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(kw_only=True)
class World:
    """A session under test."""

    folder: Path
    egress: Egress
    socket: Path
    seen: list[str] = field(default_factory=list)
    """Requests that the web server got."""

    @property
    def connections(self) -> list[Connection]:
        return read_connections(self.folder / NAME)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.socket))

    async def say(self, data: bytes | str, *, finish: bool = True) -> bytes:
        """Send bytes, finish sending unless told not to, and return everything that comes back."""
        reader, writer = await self.connect()
        writer.write(data.encode() if isinstance(data, str) else data)
        if finish:
            writer.write_eof()
        async with asyncio.timeout(_PATIENCE):
            answer = await reader.read()
        writer.close()
        return answer

    async def until_recorded(self, count: int) -> list[Connection]:
        """Wait for connections to be recorded, and return them."""
        async with asyncio.timeout(_PATIENCE):
            while len(self.connections) < count:  # noqa: ASYNC110  a file tells nobody that it has grown
                await asyncio.sleep(0.01)
        return self.connections


def make_spec(folder: Path, **changes: Any) -> SessionSpec:
    """Return a session without a model, with changes."""
    values: dict[str, Any] = {
        "run": "demo-r1-0",
        "framework": "fw",
        "scenario": "demo",
        "step": "one",
        "index": 1,
        "attempt": 1,
        "model": None,
        "answers": None,
        "calls_file": folder / "calls.jsonl",
    }
    return SessionSpec(**values | changes)


@asynccontextmanager
async def world(
    folder: Path,
    *,
    allow: tuple[str, ...] = (),
    packages_folder: Path | None = None,
    before: date | None = None,
    index: IndexSettings | None = None,
    head_seconds: float = 30.0,
    **options: Any,
) -> AsyncIterator[World]:
    """Serve a session on a socket."""
    packages = None
    if before is not None or packages_folder is not None:
        packages = Packages(before=before, folder="wheels" if before is None else None)
    spec = make_spec(folder, allow=allow, packages=packages, packages_folder=packages_folder)
    seen: list[str] = []

    async def model(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path}")
        return web.Response(text=f"model {len(await request.read())}")

    async with aiohttp.ClientSession() as http:
        egress = Egress(spec, TOKEN, http=http, index=index, **{"proxies": {}, **options})
        app = web.Application()
        app.router.add_routes(egress.routes())
        app.router.add_route("*", "/{path:.*}", model)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        assert runner.server is not None
        factory = make_protocol_factory(runner.server, egress, head_seconds=head_seconds)
        with tempfile.TemporaryDirectory(prefix="cgr-") as place:
            path = Path(place) / "s"
            server = await asyncio.get_running_loop().create_unix_server(factory, str(path))
            try:
                yield World(folder=folder, egress=egress, socket=path, seen=seen)
            finally:
                server.close()
                await egress.close()
                await runner.cleanup()


@asynccontextmanager
async def host(handler: Handler) -> AsyncIterator[int]:
    """Serve on a loopback port for as long as the block lasts, and lend the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, to its end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def connect_to(port: int, name: str = "127.0.0.1", credentials: str = CREDENTIALS) -> str:
    """Return the request for a tunnel."""
    return f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n{credentials}\r\n"


def go(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, within four minutes."""

    async def bounded() -> T:
        async with asyncio.timeout(2 * _PATIENCE):
            return await coroutine

    return asyncio.run(bounded())
