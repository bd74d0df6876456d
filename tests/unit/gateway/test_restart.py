"""A gateway that is killed comes back: same sockets, same tokens, same numbers, and nothing metered twice or lost."""

from __future__ import annotations

import dataclasses
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.gateway_load import Load, counting, require_exact
from support.talk import ask, insist, say

from runner.gateway.calls import read_calls
from runner.gateway.client import GatewayProcess
from runner.gateway.pending import ENDED
from runner.gateway.session import GatewayError, Metered, SessionSpec
from runner.gateway.settings import GatewaySettings, Spent
from runner.spec.model import Budget, Model

pytestmark = pytest.mark.processes

Spec = Callable[..., SessionSpec]
ANSWERS = "version: 1\nsteps: {one: [{content: first}, {content: second}, {content: third}]}"
KILLS = 16


def kill(gateway: GatewayProcess) -> None:
    """Kill the process there is now."""
    process = gateway.process
    process.kill()
    process.wait()


@pytest.fixture
def start(settings: GatewaySettings) -> Iterator[Callable[..., GatewayProcess]]:
    """Return what starts a gateway of the test's own."""
    started: list[GatewayProcess] = []

    def begin(restarts: int = 100, on_restart: Callable[[str], None] | None = None, **changes: Any) -> GatewayProcess:
        changed = dataclasses.replace(settings, **changes)
        started.append(GatewayProcess(changed, restarts=restarts, on_restart=on_restart))
        return started[-1]

    yield begin
    for gateway in started:
        gateway.shutdown()


def test_a_restart_is_told(start: Any, make_spec: Spec) -> None:
    """Whoever listens hears once that the process was started again, and how it had ended."""
    heard: list[str] = []
    gateway = start(on_restart=heard.append)
    gateway.open(make_spec(answers=ANSWERS))
    kill(gateway)
    gateway.open(make_spec(answers=ANSWERS, attempt=2))
    assert heard == ["the model gateway ended and was started again: exit code -9"]


def test_scripted_answers_go_on(start: Any, make_spec: Spec, calls: Any) -> None:
    """After a kill the next call, at the same socket with the same token, gets the next answer, and numbers go on."""
    gateway = start()
    session = gateway.open(make_spec(answers=ANSWERS))
    said = []
    for _ in range(3):
        said.append(insist(session, say())[1]["choices"][0]["message"]["content"])
        kill(gateway)
    totals = gateway.close(session)
    assert said == ["first", "second", "third"]
    assert [call["n"] for call in calls()] == [1, 2, 3]
    assert (totals.api_calls, totals.failed_calls, totals.last_error) == (3, 0, "")
    assert totals.tokens_out == sum(call["tokens_out"] for call in calls())
    assert not session.directory.exists()


def test_folder_that_a_container_has_mounted_stays(start: Any, make_spec: Spec) -> None:
    """The session's folder is the same one after a restart: a container's mount of it still shows the socket."""
    gateway = start()
    session = gateway.open(make_spec(answers=ANSWERS))
    before = session.directory.stat().st_ino
    kill(gateway)
    insist(session, say())
    assert session.directory.stat().st_ino == before


def test_call_under_way_gets_its_line(start: Any, make_spec: Spec, calls: Any, upstream: Any, wait_until: Any) -> None:
    """A call that the kill cut off is recorded once: of unknown usage, our doing; the client's next try is answered."""
    gateway = start()
    session = gateway.open(make_spec(model=upstream.model("held")))
    asked = len(upstream.asked)
    broken: list[Exception] = []
    upstream.free.clear()

    def call() -> None:
        try:
            ask(session, say(seed=5))
        except (OSError, http.client.HTTPException) as error:
            broken.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: len(upstream.asked) > asked)
    kill(gateway)
    thread.join()
    upstream.free.set()
    status, _ = insist(session, say(seed=6))
    totals = gateway.close(session)
    assert len(broken) == 1
    assert status == 200
    assert [(call["parameters"], call["usage_source"], call["fault"]) for call in calls()] == [
        ({"seed": 5}, "unknown", "runner"),
        ({"seed": 6}, "provider", None),
    ]
    assert calls()[0]["error"] == ENDED
    assert [call["n"] for call in calls()] == [1, 2]
    assert (totals.api_calls, totals.unmetered_calls, totals.tokens_in, totals.last_error) == (2, 1, None, "")


def test_calls_are_told_before_the_session_is_closed(start: Any, make_spec: Spec) -> None:
    """Whoever wants to hear of calls hears each of them once, those after a restart too, before close returns."""
    gateway = start()
    heard: list[Metered] = []
    session = gateway.open(make_spec(answers=ANSWERS), heard.append)
    insist(session, say())
    kill(gateway)
    insist(session, say())
    insist(session, say())
    gateway.close(session)
    assert [call.session for call in heard] == [session.id] * 3
    assert all(call.tokens_in and call.error is None for call in heard)


def test_a_slow_listener_makes_no_death_an_error(start: Any, make_spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a process has died is known late if what it said is still being handed on; who asks waits for that."""
    monkeypatch.setattr("runner.gateway.client._HEARD_SECONDS", 0.1)
    gateway = start()
    heard, over = threading.Event(), threading.Event()

    def listen(_: Metered) -> None:
        heard.set()
        over.wait(60)

    session = gateway.open(make_spec(answers=ANSWERS), listen)
    insist(session, say())
    assert heard.wait(60)
    kill(gateway)
    threading.Timer(1.0, over.set).start()
    gateway.open(make_spec(answers=ANSWERS, attempt=2))
    assert over.is_set()


def test_too_many_deaths_are_the_end(start: Any, make_spec: Spec) -> None:
    """If it dies more often than allowed, sessions cannot be opened, and open ones end with that as last error."""
    gateway = start(restarts=1)
    session = gateway.open(make_spec(answers=ANSWERS))
    insist(session, say())
    kill(gateway)
    insist(session, say())
    kill(gateway)
    with pytest.raises(GatewayError, match="the gateway died 2 times within a minute") as error:
        gateway.open(make_spec(answers=ANSWERS))
    totals = gateway.close(session)
    assert "exit code -9" in error.value.why
    assert error.value.hint
    assert (totals.api_calls, totals.last_error_fault) == (2, "runner")
    assert "the gateway died 2 times within a minute" in totals.last_error


def test_stopped_gateway_is_started_again(start: Any, make_spec: Spec) -> None:
    """Other signals that end it change nothing: SIGTERM is not even heard, an abort is a death like any other."""
    gateway = start()
    session = gateway.open(make_spec(answers=ANSWERS))
    before = gateway.pid
    gateway.process.terminate()
    assert insist(session, say())[0] == 200
    assert gateway.pid == before
    gateway.process.send_signal(6)
    gateway.process.wait()
    assert insist(session, say())[0] == 200
    assert gateway.pid != before


def test_what_the_experiment_spent_outlives_the_process(start: Any, make_spec: Spec) -> None:
    """The experiment's budget counts what closed and open sessions used before the process died."""
    gateway = start(budget=Budget(calls=4), spent=Spent(calls=1))
    first = gateway.open(make_spec(answers=ANSWERS, attempt=1))
    insist(first, say())
    gateway.close(first)
    second = gateway.open(make_spec(answers=ANSWERS, attempt=2))
    insist(second, say())
    kill(gateway)
    assert insist(second, say())[0] == 200
    status, content = insist(second, say())
    assert (status, content["error"]["code"]) == (403, "budget_exceeded")


def test_session_whose_answers_are_gone_ends_broken(start: Any, make_spec: Spec) -> None:
    """A session that cannot be opened again ends with what was recorded; the others go on."""
    gateway = start()
    spec = make_spec(answers=ANSWERS)
    lost = gateway.open(spec)
    insist(lost, say())
    assert spec.answers is not None
    other = spec.answers.rename(spec.answers.with_name("other.yaml"))
    kill(gateway)
    kept = gateway.open(dataclasses.replace(spec, answers=other, attempt=2))
    totals = gateway.close(lost)
    assert insist(kept, say())[0] == 200
    assert (totals.api_calls, totals.last_error_fault) == (1, "runner")


def test_kills_under_load_lose_and_double_nothing(start: Any, make_spec: Spec) -> None:
    """Whenever it is killed, each call the upstream began has one line, and each a client saw whole its exact usage."""
    gateway = start()
    moments = random.Random(7)
    with counting() as (counter, url):
        spec = make_spec(model=Model(provider="openai", name="real", base_url=url))
        session = gateway.open(spec)
        with Load(session) as load:
            for _ in range(KILLS):
                load.go_on(20)
                time.sleep(moments.random() * 0.05)
                kill(gateway)
        totals = gateway.close(session)
    read = read_calls(spec.calls_file)
    require_exact(read, counter, load, KILLS)
    assert len(gateway.deaths) == KILLS
    assert totals.api_calls == len(read.calls)
    assert len(load.seen) >= 20 * KILLS
