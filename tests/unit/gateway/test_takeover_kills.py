"""Runner and gateway are killed in any order, again and again, under load: nothing is metered twice or lost."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.gateway_load import Load, counting, require_exact
from support.mortal_runner import Mortal, mortal

from runner.events import boottime
from runner.gateway.calls import read_calls
from runner.gateway.client import GatewayProcess
from runner.gateway.session import SessionSpec
from runner.gateway.settings import GatewaySettings
from runner.spec.model import Model

pytestmark = pytest.mark.processes

ROUNDS = 10
Spec = Callable[..., SessionSpec]


@pytest.fixture
def own(settings: GatewaySettings, tmp_path: Path) -> Iterator[GatewaySettings]:
    """Return settings with an output folder, and a place for gateways that is the test's own."""
    home = tmp_path / "runs"
    home.mkdir()
    runtime = Path(tempfile.mkdtemp(prefix="t-", dir=settings.runtime))
    yield dataclasses.replace(settings, runtime=runtime, home=home)
    shutil.rmtree(runtime)


def test_kills_of_both_under_load(own: GatewaySettings, make_spec: Spec) -> None:
    """Each call the endpoint began has one line and each a client saw whole its exact usage, whoever was killed when.

    Every runner finds the session of the first one: same token, same folder.
    """
    chance = random.Random(11)
    with counting() as (counter, url):
        spec = make_spec(model=Model(provider="openai", name="real", base_url=url))
        spec = dataclasses.replace(spec, expires=boottime() + 600)
        with mortal(own, [spec]) as first:
            session = first.sessions[0]
            with Load(session) as load:
                load.go_on(20)
                _strike(chance, first)
                for _ in range(ROUNDS):
                    with mortal(own, [spec]) as runner:
                        assert runner.sessions == [session]
                        load.go_on(10)
                        time.sleep(chance.random() * 0.05)
                        _strike(chance, runner)
                gateway = GatewayProcess(own)
                assert gateway.open(spec) == session
                load.go_on(20)
        totals = gateway.close(session)
        gateway.shutdown()
    read = read_calls(spec.calls_file)
    require_exact(read, counter, load, 2 * ROUNDS)
    assert totals.api_calls == len(read.calls)
    assert list(own.runtime.iterdir()) == []


def _strike(chance: random.Random, runner: Mortal) -> None:
    """Kill the runner, and perhaps its gateway before or after it; the runner may be starting another one then."""
    how = chance.choice(["runner", "gateway first", "runner first"])
    if how == "gateway first":
        _kill(runner.gateway)
        time.sleep(chance.random() * 1.5)
    runner.kill()
    if how == "runner first":
        time.sleep(chance.random() * 0.2)
        _kill(runner.gateway)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
