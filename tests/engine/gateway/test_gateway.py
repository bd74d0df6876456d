"""The only way out of a container without network: loopback, shim, mounted socket, gateway."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.gateway.calls import read_calls
from runner.gateway.client import start_gateway
from runner.gateway.session import Gateway, Session, SessionSpec
from runner.gateway.settings import gateway_settings
from runner.spec.model import Model

pytestmark = pytest.mark.engine

OPTIONS = ("--deadline=190", "--grace=1", "--log-limit=65536", "--gateway")
ANSWERS = """
version: 1
steps:
  one:
    - {content: "first answer"}
    - {content: "second answer", expect: "go on"}
"""
CLIENT = """
import json, socket, sys, urllib.error, urllib.request
def ask(text, stream=False):
    body = json.dumps({"model": "any", "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Authorization": "Bearer %s", "Content-Type": "application/json"}
    request = urllib.request.Request("http://127.0.0.1:4000/v1/chat/completions", body, headers)
    try:
        return urllib.request.urlopen(request, timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code) + " " + error.read().decode()
print(json.loads(ask("hello"))["choices"][0]["message"]["content"])
print("streamed" if ask("go on", stream=True).endswith("data: [DONE]\\n\\n") else "broken")
print(ask("once more"))
print([name for _, name in socket.if_nameindex()])
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError as error:
    print(error.strerror)
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Start a gateway with the scripted model."""
    (tmp_path / "answers.yaml").write_text(ANSWERS)
    with start_gateway(gateway_settings(Model(), {})) as started:
        yield started


def _open(gateway: Gateway, tmp_path: Path) -> Session:
    return gateway.open(
        SessionSpec(
            run="demo-r1-0",
            framework="fw",
            scenario="demo",
            step="one",
            index=1,
            attempt=1,
            model=Model(),
            answers=tmp_path / "answers.yaml",
            calls_file=tmp_path / "llm" / "calls.jsonl",
        )
    )


@pytest.mark.parametrize("user", [None, pytest.param(1000, marks=pytest.mark.skipif(os.getuid() != 0, reason="chown"))])
def test_container_without_network_reaches_the_model_and_nothing_else(
    containers: Any, gateway: Gateway, python: Callable[[str], tuple[str, ...]], tmp_path: Path, *, user: int | None
) -> None:
    """With loopback only, a client gets its answers, whole and streamed, then the error when they run out."""
    session = _open(gateway, tmp_path)
    if user is not None:
        for path in (session.directory, session.directory / "gateway.sock"):
            os.chown(path, user, user)
    code = CLIENT % session.token
    ended = containers.run(*python(code), options=OPTIONS, gateway=session.directory, user=user)
    totals = gateway.close(session)
    first, second, third, interfaces, refused = ended.stdout.splitlines()
    assert (first, second) == ("first answer", "streamed")
    assert third.startswith("400 ")
    assert "scripted answers exhausted: call 3 of step one" in third
    assert (interfaces, refused) == ("['lo']", "Network is unreachable")
    assert (totals.api_calls, totals.failed_calls) == (3, 1)
    assert "exhausted" in totals.last_error
    assert [call.status for call in read_calls(tmp_path / "llm" / "calls.jsonl").calls] == [200, 200, 400]


def test_container_hears_that_the_gateway_is_gone(
    containers: Any, gateway: Gateway, python: Callable[[str], tuple[str, ...]], tmp_path: Path
) -> None:
    """Without a socket in the mounted folder a client gets an error in words, once it has waited for a new gateway."""
    session = _open(gateway, tmp_path)
    (session.directory / "gateway.sock").unlink()
    code = (CLIENT % session.token).split("print(json")[0] + "print(ask('hello'))"
    ended = containers.run(*python(code), options=(*OPTIONS, "--patience=1"), gateway=session.directory)
    gateway.close(session)
    assert ended.stdout.startswith("503 ")
    assert '"message": "the model gateway does not answer: No such file' in ended.stdout
