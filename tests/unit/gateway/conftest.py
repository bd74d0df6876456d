"""A real gateway process, sessions in it, a fake endpoint behind it, and the real SDK in front of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from pydantic import SecretStr
from support.waiting import until

from runner.gateway.client import GatewayProcess
from runner.gateway.session import Session, SessionSpec
from runner.gateway.settings import GatewaySettings, runtime_folder
from runner.spec.model import Model, Traffic

KEY = "sk-sentinel-6d1f2a9c"
"""Key of the fake endpoint; it must never be seen outside the gateway."""


@pytest.fixture(scope="session")
def sentinel() -> str:
    """Return the provider's key."""
    return KEY


def _settings(key: str | None) -> GatewaySettings:
    return GatewaySettings(
        key=SecretStr(key) if key else None,
        base_url="http://127.0.0.1:9/v1",
        runtime=runtime_folder({}),
        # Long enough for an answer that is on its way on a busy machine; only what hangs on purpose takes this long.
        drain_seconds=5.0,
        read_timeout=5.0,
        # One try for each call, and no pause after many that fail on purpose.
        traffic=Traffic(retries=0, pause_after=10_000),
    )


@pytest.fixture(scope="session")
def settings() -> GatewaySettings:
    """Return settings with the sentinel key and short waits."""
    return _settings(KEY)


@pytest.fixture(scope="session")
def _process() -> Iterator[dict[str, GatewayProcess]]:
    started: dict[str, GatewayProcess] = {}
    yield started
    for gateway in started.values():
        gateway.shutdown()


@pytest.fixture
def gateway(_process: dict[str, GatewayProcess]) -> GatewayProcess:
    """Return a gateway process that all tests share; it starts within the first test that wants it."""
    if "it" not in _process:
        _process["it"] = GatewayProcess(_settings(KEY))
    return _process["it"]


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., SessionSpec]:
    """Return what makes a session's description; `answers` is the text of a YAML file."""

    def make(*, answers: str | None = None, model: Model | None = None, attempt: int = 1) -> SessionSpec:
        file = tmp_path / "images" / "fw" / "answers" / "demo.yaml"
        if answers is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(answers)
        return SessionSpec(
            run="demo-r1-0123456789",
            framework="fw",
            scenario="demo",
            step="one",
            index=1,
            attempt=attempt,
            model=model or Model(),
            answers=file if answers is not None else None,
            calls_file=tmp_path / "run" / "llm" / "calls.jsonl",
        )

    return make


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """Return what reads the lines of the test's calls file."""

    def read() -> list[dict[str, Any]]:
        path = tmp_path / "run" / "llm" / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def sdk() -> Iterator[Callable[..., openai.OpenAI]]:
    """Return what makes the real SDK's client of a session, over its socket."""
    made: list[openai.OpenAI] = []

    def make(session: Session, *, token: str | None = None) -> openai.OpenAI:
        import httpx2

        http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(session.directory / "gateway.sock")), timeout=60)
        client = openai.OpenAI(
            api_key=token or session.token, base_url="http://gateway/v1", http_client=http, max_retries=0
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


class Upstream:
    """Holds a fake endpoint: the first part of the path says how it behaves; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.given_up = threading.Event()
        self.free = threading.Event()
        """Lets calls to `held` be answered."""
        self.url = ""
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.started.wait(60)

    def _run(self) -> None:
        self.loop.run_until_complete(self._start())
        self.loop.run_forever()
        self.loop.run_until_complete(self.runner.cleanup())
        self.loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/{how}/v1/chat/completions", self._answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.started.set()

    def stop(self) -> None:
        """End the endpoint."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def model(self, how: str) -> Model:
        """Return a model behind this endpoint that behaves in this way."""
        return Model(provider="openai", name="real-model-1", base_url=f"{self.url}/{how}/v1")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        how = request.match_info["how"]
        if how in {"silent", "slow"}:
            await asyncio.sleep(60 if how == "silent" else 0.6)
        while how == "held" and not self.free.is_set():  # noqa: ASYNC110  it is set in another thread
            await asyncio.sleep(0.02)
        if body.get("stream") and how in {"ok", "cut", "short", "endless", "nousage"}:
            return await self._stream(request, body)
        return self._whole(how, request.headers["Authorization"])

    def _whole(self, how: str, authorization: str) -> web.StreamResponse:
        match how:
            case "limited":
                error = {"message": "slow down", "type": "rate_limit_error", "param": None, "code": None}
                return web.json_response({"error": error}, status=429, headers={"Retry-After": "7"})
            case "toolong":
                return web.json_response({"error": {"message": "too long a context"}}, status=400)
            case "html":
                return web.Response(status=502, text="<h1>Bad gateway</h1>", content_type="text/html")
            case "echo":
                return web.json_response({"error": {"message": f"bad {authorization}"}}, status=401)
            case "moved":
                return web.Response(status=307, headers={"Location": "/ok/v1/chat/completions"})
        usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
        details = {"prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 2}}
        choice = {"index": 0, "message": {"role": "assistant", "content": "real answer"}, "finish_reason": "stop"}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "real-model-1-0613"}
        return web.json_response({**head, "choices": [choice], "usage": {**usage, **details}})

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        how = request.match_info["how"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "real-model-1-0613"}

        async def send(choices: list[dict[str, Any]], **more: Any) -> None:
            await response.write(b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\r\n\r\n")

        try:
            for word in ["real", " streamed", " answer"] * (200 if how == "endless" else 1):
                await send([{"index": 0, "delta": {"content": word}, "finish_reason": None}], usage=None)
                if how == "endless":
                    await asyncio.sleep(0.1)
                if how == "cut" and request.transport is not None:
                    request.transport.abort()
        except (ConnectionResetError, asyncio.CancelledError):
            self.given_up.set()
            raise
        if how == "short":
            return response
        await send([{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None)
        if how != "nousage" and body.get("stream_options", {}).get("include_usage"):
            await send([], usage={"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23})
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """Return a fake endpoint that all tests share."""
    endpoint = Upstream()
    yield endpoint
    endpoint.stop()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Return what waits until something holds, for a minute at most."""

    def wait(holds: Callable[[], object]) -> None:
        until(holds, "it did not come true within 60 s", 60)

    return wait
