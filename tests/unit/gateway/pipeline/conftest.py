"""One session's web application in this process, with a provider of the test's own or a real one behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from runner.gateway.bodies import Bodies
from runner.gateway.budgets import Purse, Purses
from runner.gateway.pending import Pending
from runner.gateway.prices import Prices
from runner.gateway.providers.protocol import Ask, Provider, Refused, Reply
from runner.gateway.served import Served
from runner.gateway.server import make_app
from runner.gateway.session import Metered, SessionSpec
from runner.gateway.traffic import Lane
from runner.spec.model import Budget, Model

TOKEN = "run-token-0123456789"
KEY = SecretStr("sk-sentinel-51c0")


@dataclass(kw_only=True)
class Scene:
    """Holds what a test looks at: the session, what it told, and a client of it."""

    served: Served
    client: aiohttp.ClientSession
    url: str
    told: list[Metered]

    async def post(self, path: str, body: object, **more: Any) -> tuple[int, Any]:
        """Send JSON with the session's token; return status and object of the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **more.pop("headers", {})}
        async with self.client.post(self.url + path, data=data, headers=headers, **more) as response:
            return response.status, await response.json(content_type=None)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds, for a minute at most."""
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110  what is waited for is the server's own, which tells nobody
                await asyncio.sleep(0.02)

    async def stream(self, path: str, body: object) -> bytes:
        """Send JSON and return the bytes of the streamed answer."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.client.post(self.url + path, json=body, headers=headers) as response:
            assert response.content_type == "text/event-stream"
            return await response.read()


@dataclass(kw_only=True)
class Said:
    """A provider that answers every call with the same pieces, and keeps what it was asked."""

    pieces: Iterable[bytes | Exception | float | asyncio.Event] = ()
    """Bytes are sent, exceptions raised, numbers slept, events waited for."""
    status: int = 200
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    refuses: Exception | None = None
    thinks: float = 0.0
    """Seconds until its answer begins."""
    asked: list[Ask] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)
    name: str = "openai"

    async def answer(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        await asyncio.sleep(self.thinks)
        if self.refuses is not None:
            raise self.refuses
        kind = "text/event-stream" if self.stream else "application/json"
        return Reply(
            status=self.status,
            headers={"content-type": kind, **self.headers},
            body=self._body(),
            stream=self.stream,
        )

    async def _body(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                elif isinstance(piece, asyncio.Event):
                    await piece.wait()
                else:
                    yield piece
        finally:
            self.closed.append(True)


Play = Callable[..., None]


@pytest.fixture
def play(make_spec: Callable[..., SessionSpec], tmp_path: Path) -> Play:
    """Return what runs a test's coroutine with a scene, whose session has this provider and this model."""

    def run(
        test: Callable[[Scene], Awaitable[None]],
        provider: Provider | None,
        *,
        model: Model | None = None,
        purse: Purse | None = None,
        no_model: bool = False,
        **more: Any,
    ) -> None:
        spec = make_spec(model=model or Model(provider="openai", name="real-1"))
        if no_model:
            spec = make_spec(model=None)
            object.__setattr__(spec, "model", None)
        more |= {"pending": Pending(tmp_path / "s1.pending"), "purses": Purses([purse or Purse("run", Budget())])}
        asyncio.run(_play(test, provider, spec, more))

    return run


async def _play(
    test: Callable[[Scene], Awaitable[None]], provider: Provider | None, spec: SessionSpec, more: dict[str, Any]
) -> None:
    told: list[Metered] = []
    model = spec.model or Model()
    served = Served(
        id="s1",
        spec=spec,
        token=TOKEN,
        provider=provider,
        lane=Lane(model.traffic),
        prices=Prices(),
        bodies=Bodies(spec.calls_file.parent / "bodies", model.bodies, model.redact, [TOKEN, KEY.get_secret_value()]),
        key=KEY,
        on_call=told.append,
        **more,
    )
    async with TestServer(make_app(served)) as server, aiohttp.ClientSession() as client:
        await test(Scene(served=served, client=client, url=str(server.make_url("")).rstrip("/"), told=told))
        await served.afterwards.done()
    if served.afterwards.has_room:
        assert served.pending.left() == []
    served.pending.close()


@pytest.fixture
def upstream() -> Callable[..., contextlib.AbstractAsyncContextManager[str]]:
    """Return what serves one handler on a port of the loopback device, for as long as a block lasts."""

    @contextlib.asynccontextmanager
    async def serve(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", handler)
        async with TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")

    return serve


@pytest.fixture
def said() -> type[Said]:
    """Return the provider that says what a test gives it."""
    return Said


@pytest.fixture
def refused() -> Callable[..., Refused]:
    """Return what makes a refusal of the provider's doing."""

    def make(status: int = 502, message: str = "lost it", **more: Any) -> Refused:
        return Refused(status, message, kind="api_connection_error", fault="provider", **more)

    return make
