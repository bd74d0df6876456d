"""The gateway in front of a real model server: what is recorded is what the server states."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from support.images import ROOT
from support.upstream.said import MODEL
from support.upstream.starting import TESTS, stated

from runner.engine.protocol import Engine
from runner.gateway.calls import read_calls
from runner.gateway.client import start_gateway
from runner.gateway.session import Session, SessionSpec
from runner.gateway.settings import gateway_settings
from runner.images import pipeline
from runner.images.models import ImageContext
from runner.names import PROJECT
from runner.spec.model import Model

pytestmark = pytest.mark.engine

KEY = "sk-upstream-4c1d"
CALLS = 20


@pytest.fixture(scope="module")
def base(engine: Engine) -> str:
    """Id of this project's own base image, made if it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PROJECT
    context = ImageContext(
        images=ROOT / "images",
        cache=cache,
        engine=engine,
        environment=os.environ,
        events=lambda _: None,
        user=f"{os.getuid()}:{os.getgid()}",
    )
    image = pipeline.ensure(context, ["base"])["base"]
    assert not isinstance(image, Exception), str(image)
    return image.engine_id


@pytest.fixture(scope="module")
def upstream(base: str) -> Iterator[str]:
    """Start the model server in a container on the host's loopback device, and return its address."""
    with pytest.MonkeyPatch.context() as environment:
        # Its reaper is an image from a registry, and needs the engine's socket; the block below ends the container.
        environment.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        listening = LogMessageWaitStrategy(re.compile(r"listening on \d+")).with_startup_timeout(200)
        container = (
            DockerContainer(base)
            .with_command(["python3", "-u", "-m", "support.upstream", KEY])
            .with_volume_mapping(TESTS / "support", "/tests/support", "ro")
            .with_env("PYTHONDONTWRITEBYTECODE", "1")
            .with_kwargs(
                working_dir="/tests",
                network_mode="host",
                init=True,
                read_only=True,
                cap_drop=["ALL"],
                user="65534:65534",
            )
            .waiting_for(listening.with_poll_interval(0.1))
        )
        with container:
            stdout, _ = container.get_logs()
            yield f"http://127.0.0.1:{stdout.decode().split()[-1]}"


Client = Callable[[Session], openai.OpenAI]


@pytest.fixture
def client() -> Iterator[Client]:
    """Return what makes the real SDK's client of a session, over its socket."""
    made: list[openai.OpenAI] = []

    def make(session: Session) -> openai.OpenAI:
        transport = httpx2.HTTPTransport(uds=str(session.directory / "gateway.sock"))
        http = httpx2.Client(transport=transport, timeout=100)
        made.append(openai.OpenAI(api_key=session.token, base_url="http://gateway/v1", http_client=http, max_retries=0))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _spec(upstream: str, folder: Path) -> SessionSpec:
    return SessionSpec(
        run="demo-r1-0",
        framework="fw",
        scenario="demo",
        step="one",
        index=1,
        attempt=1,
        model=Model(provider="openai", name="upstream-model", base_url=f"{upstream}/v1"),
        answers=None,
        calls_file=folder / "llm" / "calls.jsonl",
    )


def _ask(sdk: openai.OpenAI, number: int) -> str:
    """Ask once; every second call as a stream, every second stream with its usage asked for; return the answer."""
    messages: Any = [{"role": "user", "content": f"question {number}"}]
    if number % 2:
        whole = sdk.chat.completions.create(model="any", messages=messages)
        return whole.choices[0].message.content or ""
    options: Any = {"stream_options": {"include_usage": True}} if number % 4 else {}
    stream = sdk.chat.completions.create(model="any", messages=messages, stream=True, **options)
    return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def test_recorded_tokens_are_those_the_server_states(upstream: str, client: Client, tmp_path: Path) -> None:
    """Twenty calls, whole and streamed, four at a time: each one's tokens stand in the file as the server said them."""
    spec = _spec(upstream, tmp_path)
    before = len(stated(upstream))
    with start_gateway(gateway_settings(spec.model, {"OPENAI_API_KEY": KEY})) as gateway:
        session = gateway.open(spec)
        sdk = client(session)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda number: _ask(sdk, number), range(1, CALLS + 1)))
        totals = gateway.close(session)
    calls = read_calls(spec.calls_file).calls
    told = stated(upstream)[before:]
    assert sorted(answers) == sorted(one["text"] for one in told)
    fields = ("tokens_in", "tokens_out", "tokens_cached", "stream")
    wanted = sorted(tuple(one[name] for name in fields) for one in told)
    assert len(wanted) == CALLS
    assert sorted((call.tokens_in, call.tokens_out, call.tokens_cached, int(call.stream)) for call in calls) == wanted
    assert {(call.status, call.usage_source, call.model_used) for call in calls} == {(200, "provider", MODEL)}
    assert (totals.api_calls, totals.failed_calls, totals.unmetered_calls) == (CALLS, 0, 0)
    sums = tuple(sum(column) for column in zip(*wanted, strict=True))
    assert (totals.tokens_in, totals.tokens_out, totals.tokens_cached) == sums[:3]


def test_a_key_the_server_refuses_is_told_as_such(upstream: str, client: Client, tmp_path: Path) -> None:
    """The server's own words reach the framework and the totals, as the provider's doing, and no tokens are counted."""
    spec = _spec(upstream, tmp_path)
    with start_gateway(gateway_settings(spec.model, {"OPENAI_API_KEY": "sk-another"})) as gateway:
        session = gateway.open(spec)
        with pytest.raises(openai.AuthenticationError, match="wrong key"):
            _ask(client(session), 1)
        totals = gateway.close(session)
    assert (totals.api_calls, totals.failed_calls, totals.tokens_in) == (1, 1, 0)
    assert "wrong key" in totals.last_error
    assert totals.last_error_fault == "provider"
