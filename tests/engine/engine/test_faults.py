"""Calls of a real engine that go wrong on the way: what is made up for, and what is told."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from support.fault_proxy import Fault, FaultProxy, Kind

from runner.engine import api, containers, observer
from runner.engine.docker import connect
from runner.engine.protocol import Engine, Unanswered
from runner.errors import EngineError
from runner.testing.lab import Lab, laboratory

pytestmark = [
    pytest.mark.engine,
    # docker-py's transport leaves a socket to the garbage collector when nobody listens any more.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture
def proxy(engine: Engine) -> Iterator[FaultProxy]:
    """Start a proxy in front of the engine, in a short path as sockets need one."""
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        FaultProxy(Path(engine.info().socket), Path(folder) / "s") as started,
    ):
        yield started


@pytest.fixture
def lab(proxy: FaultProxy, engine_image: str, tmp_path: Path) -> Iterator[Lab]:
    """A lab behind the proxy; retries do not wait."""
    with (
        mock.patch.object(api._RETRYING, "sleep"),
        connect({"DOCKER_HOST": proxy.host}) as connected,
        laboratory(connected, engine_image, tmp_path, "1000:1000") as made,
    ):
        yield made
        proxy.clear()
    gc.collect()  # while the warnings about those sockets are still let pass


def _calls(proxy: FaultProxy, method: str, end: str) -> int:
    return sum(call.startswith(method) and call.endswith(end) for call in proxy.seen)


@pytest.mark.parametrize("kind", ["lose", "status_after"])
def test_a_container_whose_creation_was_not_answered_is_used(proxy: FaultProxy, lab: Lab, kind: Kind) -> None:
    """The engine made it: it is found by its name and labels, and there is one."""
    proxy.add(Fault(kind=kind, path="/containers/create$"))
    state, _ = lab.perform("exit")
    assert state.exit_code == 3
    assert _calls(proxy, "POST", "/create") == 1


@pytest.mark.parametrize("kind", ["close", "status"])
def test_a_creation_that_never_arrived_is_an_error(proxy: FaultProxy, lab: Lab, kind: Kind) -> None:
    """Where there is no container the caller is told, and decides."""
    proxy.add(Fault(kind=kind, path="/containers/create$"))
    with pytest.raises(EngineError):
        lab.create(lab.spec("exit"))
    assert _calls(proxy, "POST", "/create") == 1


@pytest.mark.parametrize("kind", ["lose", "status_after"])
def test_a_start_that_was_not_answered_is_looked_up(proxy: FaultProxy, lab: Lab, kind: Kind) -> None:
    """The container runs, or has ended already; it is not started a second time."""
    proxy.add(Fault(kind=kind, path="/start$"))
    state, _ = lab.perform("exit")
    assert state.exit_code == 3
    assert _calls(proxy, "POST", "/start") == 1


@pytest.mark.parametrize("kind", ["hang", "hang_after"])
def test_a_wait_without_an_answer_ends_all_the_same(proxy: FaultProxy, lab: Lab, kind: Kind) -> None:
    """Whoever waits looks at the container now and then."""
    proxy.add(Fault(kind=kind, path="/wait$", times=None))
    with mock.patch.object(containers, "_GLANCE", 0.5):
        state, _ = lab.perform("exit")
    assert state.exit_code == 3


@pytest.mark.parametrize("kind", ["close", "lose", "status", "cut", "delay"])
def test_reads_are_made_again(proxy: FaultProxy, lab: Lab, kind: Kind) -> None:
    """A read that gets no answer, half of one, a late one or an error of the engine is made again."""
    container = lab.start("exit")
    lab.finish(container)
    proxy.add(Fault(kind=kind, method="GET", path="/json$", times=2, after=10))
    assert lab.engine.observer.inspect(container).exit_code == 3
    assert len(proxy.met) == 2 or kind == "delay"


def test_a_missing_container_is_believed(proxy: FaultProxy, lab: Lab) -> None:
    """An engine that says 404 is not asked again: what is gone does not come back."""
    container = lab.start("exit")
    lab.finish(container)
    proxy.add(Fault(kind="status", status=404, message="No such container", path="/json$", times=None))
    with pytest.raises(EngineError, match="No such container"):
        lab.engine.observer.inspect(container)
    assert len(proxy.met) == 1


def test_half_a_log_is_an_error(proxy: FaultProxy, lab: Lab) -> None:
    """A log that breaks off is never taken for the whole."""
    container = lab.start("long line")
    lab.finish(container)
    proxy.add(Fault(kind="cut", path="/logs$", after=100_000))
    with pytest.raises(Unanswered):
        list(lab.engine.observer.logs(container))
    assert sum(len(chunk) for _, chunk in lab.engine.observer.logs(container)) > 1_000_000


def test_a_log_that_hangs_ends(proxy: FaultProxy, lab: Lab) -> None:
    """The log of a container that has ended has a deadline from piece to piece."""
    container = lab.start("speak")
    lab.finish(container)
    proxy.add(Fault(kind="hang", path="/logs$"))
    with mock.patch.object(observer, "IDLE", 0.5), pytest.raises(Unanswered, match=r"within 0.5 s to GET"):
        list(lab.engine.observer.logs(container))


def test_a_removal_is_made_again(proxy: FaultProxy, lab: Lab) -> None:
    """Removing what is gone already does nothing."""
    container = lab.start("exit")
    lab.finish(container)
    proxy.add(Fault(kind="lose", method="DELETE", times=2))
    lab.engine.containers.remove(container)
    assert len(proxy.met) == 2


def test_an_engine_that_is_away_says_so(proxy: FaultProxy, lab: Lab) -> None:
    """Absence comes and goes with the engine."""
    assert lab.engine.absence() == ""
    proxy.down()
    assert lab.engine.absence().startswith(f"no Docker engine answers at {proxy.host} (")
    proxy.up()
    assert lab.engine.absence() == ""
