"""A container keeps its way to the model while runners and gateways die behind it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mortal_runner import mortal
from support.waiting import until

from runner.events import boottime
from runner.gateway.calls import read_calls
from runner.gateway.client import GatewayProcess
from runner.gateway.session import SessionSpec
from runner.gateway.settings import GatewaySettings, gateway_settings
from runner.spec.model import Model

pytestmark = pytest.mark.engine

OPTIONS = ("--deadline=200", "--grace=1", "--log-limit=65536", "--gateway")
ANSWERS = "version: 1\nsteps: {one: [{content: first}, {content: second}, {content: third}]}"
CLIENT = """
import json, time, urllib.request
def ask():
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": "go"}]}).encode()
    headers = {"Authorization": "Bearer %s", "Content-Type": "application/json"}
    request = urllib.request.Request("http://127.0.0.1:4000/v1/chat/completions", body, headers)
    return json.loads(urllib.request.urlopen(request, timeout=60).read())["choices"][0]["message"]["content"]
for pause in (0, 2, 2):
    time.sleep(pause)
    print(ask(), flush=True)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[GatewaySettings]:
    """Return settings of a gateway that outlives its runner."""
    found = gateway_settings(Model(), {})
    runtime = Path(tempfile.mkdtemp(prefix="t-", dir=found.runtime))
    yield dataclasses.replace(found, runtime=runtime, home=tmp_path)
    shutil.rmtree(runtime)


@pytest.mark.parametrize("and_gateway", [False, True])
def test_container_outlives_its_runner(
    containers: Any,
    settings: GatewaySettings,
    python: Callable[[str], tuple[str, ...]],
    tmp_path: Path,
    *,
    and_gateway: bool,
) -> None:
    """It gets one answer from each runner and one in between, if its gateway lives; all are metered as one attempt's."""
    (tmp_path / "answers.yaml").write_text(ANSWERS)
    spec = SessionSpec(
        run="demo-r1-0",
        framework="fw",
        scenario="demo",
        step="one",
        index=1,
        attempt=1,
        model=Model(),
        answers=tmp_path / "answers.yaml",
        calls_file=tmp_path / "llm" / "calls.jsonl",
        expires=boottime() + 240,
    )
    with mortal(settings, [spec]) as runner:
        (session,) = runner.sessions
        container = containers.start(*python(CLIENT % session.token), options=OPTIONS, gateway=session.directory)
        _await_calls(spec, 1)
        # A call has its line before its client has the answer.
        assert next(containers.engine.observer.logs(container, follow=True)) == ("stdout", b"first\n")
        runner.kill()
    if and_gateway:
        os.kill(runner.gateway, signal.SIGKILL)
    else:
        _await_calls(spec, 2)
    gateway = GatewayProcess(settings)
    try:
        assert gateway.open(spec) == session
        ended = containers.finish(container)
        totals = gateway.close(session)
    finally:
        gateway.shutdown()
    assert ended.stdout.split() == ["first", "second", "third"]
    assert (totals.api_calls, totals.failed_calls) == (3, 0)
    assert [call.n for call in read_calls(spec.calls_file).calls] == [1, 2, 3]


def _await_calls(spec: SessionSpec, number: int) -> None:
    until(lambda: len(read_calls(spec.calls_file).calls) >= number, f"there were not {number} calls within 60 s", 60)
