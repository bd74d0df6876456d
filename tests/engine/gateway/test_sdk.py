"""The SDKs that frameworks are built on, in a container without network, against a server that speaks the real formats.

What the SDK saw, what the server stated and what stands in the calls file have to be the same, in every call.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.images import CASES, ROOT, Project
from support.upstream.said import MODEL
from support.upstream.starting import stated, upstream

from runner.engine.protocol import ContainerSpec, Engine, Mount, Resources
from runner.gateway.calls import Call, read_calls
from runner.gateway.client import start_gateway
from runner.gateway.session import Gateway, SessionSpec, Totals
from runner.gateway.settings import gateway_settings
from runner.images.models import ImageContext
from runner.names import GATEWAY_DIR, LABEL_KIND, PROJECT, SHIM
from runner.spec.model import Model, ProviderName, Traffic

pytestmark = pytest.mark.engine

KEY = "sk-upstream-58f0c3a7"
MIB = 1 << 20
TOKENS = ("tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning")
PICTURE = "image of 136536"
"""What the server says of a picture that arrived whole: the length of its base64 text."""
ASKED = {"city": 'Z\u00fcrich "am See"'}
"""Arguments that the server's tool calls have, whatever the format."""


@pytest.fixture(scope="module")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of the image with the SDKs, made from its lock if the engine does not have it."""
    images = tmp_path_factory.mktemp("sdk") / "images"
    for recipe in ("base", "builder"):
        shutil.copytree(ROOT / "images" / recipe, images / recipe, symlinks=True)
    shutil.copytree(CASES / "sdk", images / "sdk")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    context = ImageContext(
        images=images,
        cache=Path(home) / PROJECT,
        engine=engine,
        environment=os.environ,
        events=lambda _: None,
        user=f"{os.getuid()}:{os.getgid()}",
    )
    return Project(ctx=context).ensure("sdk").engine_id


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of the server."""
    with upstream(KEY) as address:
        yield address


@pytest.fixture(scope="module")
def gateway(server: str) -> Iterator[Gateway]:
    """A gateway that tries every call twice."""
    traffic = Traffic(retries=1, backoff=0.01, pause_after=1000)
    model = Model(provider="openai", name="m", base_url=f"{server}/v1", traffic=traffic)
    with start_gateway(gateway_settings(model, {"OPENAI_API_KEY": KEY})) as started:
        yield started


@dataclass(frozen=True, kw_only=True)
class Witnesses:
    """The same calls, told by three."""

    seen: list[dict[str, Any]]
    """By the SDK."""
    stated: list[dict[str, Any]]
    """By the server, faults included."""
    calls: tuple[Call, ...]
    totals: Totals

    def of(self, way: str) -> dict[str, Any]:
        """Return what the SDK saw of one kind of call."""
        (found,) = (one for one in self.seen if one["way"] == way)
        return found

    @property
    def answers(self) -> dict[int, dict[str, Any]]:
        """Return the server's answers by their number."""
        return {one["number"]: one for one in self.stated if "number" in one}


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Runs SDKs in containers."""

    engine: Engine
    image: str
    gateway: Gateway
    server: str
    folder: Path

    def ask(self, sdk: str, provider: ProviderName, base_url: str, **more: Any) -> Witnesses:
        """Run one SDK's calls as a step and return what was told of them."""
        before = len(stated(self.server))
        spec = SessionSpec(
            run="demo-r1-0",
            framework="sdk",
            scenario="demo",
            step=sdk,
            index=1,
            attempt=1,
            model=Model(provider=provider, name="m", base_url=base_url, **more),
            answers=None,
            calls_file=self.folder / "llm" / "calls.jsonl",
        )
        session = self.gateway.open(spec)
        try:
            text = self._run(sdk, session.environment("m"), session.directory)
        finally:
            totals = self.gateway.close(session)
        return Witnesses(
            seen=[json.loads(line) for line in text.splitlines() if line.startswith('{"way"')],
            stated=stated(self.server)[before:],
            calls=read_calls(spec.calls_file).calls,
            totals=totals,
        )

    def _run(self, sdk: str, environment: Mapping[str, str], socket: Path) -> str:
        """Run the program in the container a step gets, and return what it printed."""
        fixed = {"PATH": "/opt/framework/venv/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8"}
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONDONTWRITEBYTECODE": "1"}
        options = ("--deadline=200", "--grace=1", "--log-limit=1048576", "--gateway")
        container = self.engine.containers.create(
            ContainerSpec(
                name=f"cgr-test-sdk-{secrets.token_hex(4)}",
                image=self.image,
                argv=(SHIM, *options, "--", "python3", "/opt/framework/source/ask.py", sdk),
                env={**fixed, **quiet, **environment},
                user=f"{os.getuid()}:{os.getgid()}",
                workdir="/tmp",
                mounts=(Mount(source=os.fspath(socket), target=GATEWAY_DIR, read_only=True),),
                resources=Resources(cpus=2.0, memory=1024 * MIB, swap=0, pids=128, tmp=16 * MIB, shm=MIB, log=4 * MIB),
                labels={LABEL_KIND: "test"},
            )
        )
        try:
            self.engine.containers.start(container)
            state = self.engine.containers.wait(container, 240)
            said = {"stdout": b"", "stderr": b""}
            for stream, chunk in self.engine.observer.logs(container):
                said[stream] += chunk
        finally:
            self.engine.containers.remove(container)
        assert state is not None, "the container did not end"
        assert state.exit_code == 0, said["stderr"].decode()
        return said["stdout"].decode()


@pytest.fixture
def asking(engine: Engine, image: str, gateway: Gateway, server: str, tmp_path: Path) -> Asking:
    """Return what runs SDKs."""
    return Asking(engine=engine, image=image, gateway=gateway, server=server, folder=tmp_path)


def _agree(told: Witnesses) -> None:
    """Check that all three tell the same of every call that was answered to its end."""
    answers = told.answers
    for one in told.seen:
        number = re.match(r"answer (\d+)", one["text"])
        if number is None:
            continue
        answer = answers[int(number[1])]
        if " \u2013 " in one["text"]:
            assert one["text"] == answer["text"], one["way"]
        known = [(name, value) for name, value in zip(TOKENS, one["usage"], strict=False) if value is not None]
        assert known == [(name, answer[name]) for name, _ in known], one["way"]
    whole = [call for call in told.calls if call.usage_source == "provider" and call.tokens_in]
    recorded = sorted(_tokens(call.model_dump()) for call in whole)
    assert recorded == sorted(_tokens(answer) for answer in answers.values() if not answer["cut"])
    assert {call.model_used for call in whole} == {MODEL}


def _tokens(told: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a call's numbers, as they can be compared: what the format cannot say counts as nothing."""
    return (*(told[name] or 0 for name in (*TOKENS, "tokens_cache_written")), told["stream"])


def _unharmed(told: Witnesses, who: str) -> None:
    """Check that pictures, tools and streams of chat completions arrived as they were sent."""
    assert PICTURE in told.of(f"{who} picture")["text"]
    assert told.of(f"{who} tools")["tools"] == [ASKED]
    assert told.of(f"{who} stream tools")["tools"] == [ASKED]
    # Usage is shown to who asked for it, and to nobody else.
    assert told.of(f"{who} stream")["usage"] == []
    assert len(told.of(f"{who} stream told")["usage"]) == len(TOKENS)


def test_openai(asking: Asking) -> None:
    """Chat completions, completions, embeddings, responses: whole, streamed, in parallel, and after faults."""
    told = asking.ask("openai", "openai", f"{asking.server}/v1")
    _agree(told)
    _unharmed(told, "openai")
    assert told.of("openai models")["text"] == "m"
    assert PICTURE in told.of("responses picture")["text"]
    assert told.of("responses tools")["tools"] == [ASKED]
    assert len(told.of("responses stream")["usage"]) == len(TOKENS)
    faults = [(call.status, call.statuses) for call in told.calls if call.statuses]
    # The gateway tries again once; what it passes on the SDK tries again itself, after the time that was asked for.
    assert faults == [(429, (429, 429)), (200, (500,)), (200, (0,))]
    assert told.of("openai cut")["text"].startswith("broken: lost the connection to")
    (cut,) = (call for call in told.calls if call.usage_source == "unknown")
    assert (cut.stream, cut.tokens_in, cut.fault) == (True, None, "provider")
    assert len(told.answers) == len(told.calls) - 1
    # One answer is without any known number of tokens, so that nobody knows the sum.
    assert (told.totals.unmetered_calls, told.totals.tokens_in) == (1, None)


def test_anthropic(asking: Asking) -> None:
    """Messages, whole, streamed and in parallel, tokens that are counted beforehand, and a stream that breaks off."""
    told = asking.ask("anthropic", "anthropic", asking.server)
    _agree(told)
    assert PICTURE in told.of("messages picture")["text"]
    assert told.of("messages tools")["tools"] == told.of("messages stream tools")["tools"] == [ASKED]
    assert told.of("messages counted")["text"] == "17"
    assert [call.tokens_in for call in told.calls if call.format == "anthropic-count-tokens"] == [0]
    assert "lost the connection to" in told.of("messages cut")["text"]
    (answer,) = (one for one in told.stated if one.get("cut"))
    (cut,) = (call for call in told.calls if call.usage_source == "partial")
    # What the request took is stated at the beginning; of the answer one token, before the rest came.
    assert (cut.tokens_in, cut.tokens_out) == (answer["tokens_in"], 1)
    assert told.totals.tokens_in == sum(one["tokens_in"] for one in told.answers.values())
    assert told.totals.partial_calls == 1


def test_litellm(asking: Asking) -> None:
    """The same library speaks either vendor's format to the same endpoint."""
    told = asking.ask("litellm", "openai", f"{asking.server}/v1")
    _agree(told)
    _unharmed(told, "litellm openai/any")
    _unharmed(told, "litellm anthropic/any")
    assert {call.format for call in told.calls} == {"openai-chat", "anthropic-messages", "openai-embeddings"}
    assert len(told.calls) == len(told.seen) == len(told.answers) == 15


def test_langchain(asking: Asking) -> None:
    """Chat completions and responses through another library's client, and embeddings."""
    told = asking.ask("langchain", "openai", f"{asking.server}/v1")
    _agree(told)
    assert told.of("langchain chat tools")["tools"] == told.of("langchain responses tools")["tools"] == [ASKED]
    assert len(told.calls) == len(told.seen) == len(told.answers) == 9


@pytest.mark.parametrize("version", ["2024-10-21", None], ids=["deployment", "v1"])
def test_azure(asking: Asking, version: str | None) -> None:
    """A client of Azure's older addresses is led to a deployment, or to the newer API, as the model says."""
    told = asking.ask("azure", "azure", asking.server, api_version=version)
    _agree(told)
    _unharmed(told, "azure")
    way = "/openai/deployments/m" if version else "/openai/v1"
    assert {one["address"].partition("/chat")[0] for one in told.stated} == {way}
    assert len(told.calls) == len(told.answers) == 6
