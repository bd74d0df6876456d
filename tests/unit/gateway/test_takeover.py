"""A gateway outlives its runner: it goes on serving, and the next runner of the same output folder takes it over."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from support.endpoints import serving
from support.mortal_runner import Mortal, mortal
from support.talk import ask, insist, say

from runner.events import boottime
from runner.gateway import leftovers, taken
from runner.gateway.calls import read_calls
from runner.gateway.child import Child
from runner.gateway.client import GatewayProcess
from runner.gateway.estate import Estate, enter
from runner.gateway.known import opening
from runner.gateway.leftovers import abandoned, forget, remove_leftovers
from runner.gateway.pending import ENDED
from runner.gateway.session import Metered, Session, SessionSpec
from runner.gateway.settings import GatewaySettings, Spent
from runner.spec.model import Budget, Model

pytestmark = pytest.mark.processes

Spec = Callable[..., SessionSpec]
Calls = Callable[[], list[dict[str, Any]]]
ANSWERS = "version: 1\nsteps: {one: [{content: first}, {content: second}, {content: third}]}"


@pytest.fixture
def own(settings: GatewaySettings, tmp_path: Path) -> Iterator[GatewaySettings]:
    """Return settings with an output folder, and a place for gateways that is the test's own."""
    home = tmp_path / "runs"
    home.mkdir()
    runtime = Path(tempfile.mkdtemp(prefix="t-", dir=settings.runtime))
    yield dataclasses.replace(settings, runtime=runtime, home=home)
    shutil.rmtree(runtime)


@pytest.fixture
def lasting(make_spec: Spec) -> Spec:
    """Return what makes the description of a session that outlives its runner for minutes, or for `seconds` from now."""

    def make(seconds: float = 240.0, *, run: int = 1, **changes: Any) -> SessionSpec:
        return dataclasses.replace(make_spec(**changes), expires=boottime() + seconds, run=f"demo-r{run}-0123456789")

    return make


@pytest.fixture
def dead(own: GatewaySettings) -> Callable[..., Mortal]:
    """Return what runs a runner with sessions and kills it."""

    def die(*specs: SessionSpec, **changes: Any) -> Mortal:
        with mortal(dataclasses.replace(own, **changes), specs) as runner:
            runner.kill()
        return runner

    return die


@contextlib.contextmanager
def living(settings: GatewaySettings) -> Iterator[GatewayProcess]:
    """Be the next runner."""
    gateway = GatewayProcess(settings)
    try:
        yield gateway
    finally:
        gateway.shutdown()


def lives(pid: int) -> bool:
    """Tell whether there is such a process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def end(pid: int) -> None:
    """Kill a process that is no child of ours, and wait for its end."""
    os.kill(pid, signal.SIGKILL)
    while lives(pid):
        time.sleep(0.01)


def give_up(session: Session) -> None:
    """Make a call whose gateway dies."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        ask(session, say())


def test_session_goes_on_without_and_with_another_runner(
    own: GatewaySettings, dead: Any, lasting: Spec, calls: Calls
) -> None:
    """The same process serves the same token at the same socket, without a runner and with the next; totals are whole."""
    spec = lasting(answers=ANSWERS)
    with mortal(own, [spec]) as first:
        (before,) = first.sessions
        said = [insist(before, say())]
        first.kill()
        said.append(insist(before, say()))
    heard: list[Metered] = []
    with living(own) as gateway:
        assert gateway.pid == first.gateway
        session = gateway.open(dataclasses.replace(spec, expires=None), heard.append)
        assert session == before
        said.append(insist(session, say()))
        totals = gateway.close(session)
    assert [content["choices"][0]["message"]["content"] for _, content in said] == ["first", "second", "third"]
    assert [call["n"] for call in calls()] == [1, 2, 3]
    assert (totals.api_calls, totals.failed_calls, len(heard)) == (3, 0, 1)
    assert list(own.runtime.iterdir()) == []
    assert not lives(first.gateway)


def test_runner_after_runner_takes_over(own: GatewaySettings, lasting: Spec, calls: Calls) -> None:
    """A gateway that was taken over outlives that runner as well, and what it says is heard by the latest one."""
    spec = lasting(answers=ANSWERS)
    with mortal(own, [spec]) as first:
        first.kill()
    with mortal(own, [spec]) as second:
        insist(second.sessions[0], say())
        second.kill()
    insist(first.sessions[0], say())
    with living(own) as gateway:
        heard: list[Metered] = []
        session = gateway.open(spec, heard.append)
        insist(session, say())
        assert gateway.close(session).api_calls == 3
        assert (gateway.pid, second.gateway, len(heard)) == (first.gateway, first.gateway, 1)
    assert [call["n"] for call in calls()] == [1, 2, 3]


@contextlib.contextmanager
def streaming(over: threading.Event, said: list[str]) -> Iterator[str]:
    """Serve an endpoint whose answers come word by word until they are to be over; gives its base URL."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "real"}
        while not over.is_set():
            said.append(f"w{len(said)} ")
            choice = {"index": 0, "delta": {"content": said[-1]}, "finish_reason": None}
            await response.write(b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n")
            await asyncio.sleep(0.05)
        usage = {"prompt_tokens": 7, "completion_tokens": len(said), "total_tokens": 7 + len(said)}
        await response.write(b"data: " + json.dumps({**head, "choices": [], "usage": usage}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    with serving(app) as url:
        yield f"{url}/v1"


def test_stream_under_way_does_not_break(own: GatewaySettings, lasting: Spec, calls: Calls, wait_until: Any) -> None:
    """An answer that began under one runner and ended under the next comes whole, and is metered exactly, once."""
    got: list[tuple[int, bytes]] = []
    over, said = threading.Event(), list[str]()
    with streaming(over, said) as url, contextlib.ExitStack() as last:
        last.callback(over.set)
        spec = lasting(model=Model(provider="openai", name="real", base_url=url))
        with mortal(own, [spec]) as first:
            (session,) = first.sessions
            thread = threading.Thread(target=lambda: got.append(ask(session, say(stream=True))))
            thread.start()
            wait_until(lambda: any(file.stat().st_size for file in Path(first.folder).glob("*.pending/calls")))
            first.kill()
        with living(own) as gateway:
            assert gateway.open(spec) == session
            assert got == []
            over.set()
            thread.join()
            totals = gateway.close(session)
    ((status, content),) = got
    assert status == 200
    assert all(word.encode() in content for word in said)
    assert content.endswith(b"data: [DONE]\n\n")
    assert [(call["usage_source"], call["tokens_out"], call["client_gone"]) for call in calls()] == [
        ("provider", len(said), False)
    ]
    assert (totals.tokens_in, totals.tokens_out) == (7, len(said))


def test_both_dead(own: GatewaySettings, lasting: Spec, calls: Calls, upstream: Any, wait_until: Any) -> None:
    """If the gateway dies after its runner, the next runner starts one with its own key on the same socket and token."""
    spec = lasting(model=upstream.model("held"))
    asked = len(upstream.asked)
    upstream.free.clear()
    with mortal(own, [spec]) as first:
        (session,) = first.sessions
        thread = threading.Thread(target=give_up, args=(session,))
        thread.start()
        wait_until(lambda: len(upstream.asked) > asked)
        first.kill()
        end(first.gateway)
        thread.join()
    upstream.free.set()
    assert abandoned(own.runtime) == remove_leftovers(own.runtime) == []
    with living(dataclasses.replace(own, key=SecretStr("sk-second"))) as gateway:
        assert gateway.open(spec) == session
        assert gateway.pid != first.gateway
        insist(session, say())
        totals = gateway.close(session)
    assert upstream.headers[-1]["Authorization"] == "Bearer sk-second"
    assert [(call["n"], call["usage_source"], call["error"]) for call in calls()] == [
        (1, "unknown", ENDED),
        (2, "provider", None),
    ]
    assert totals.api_calls == 2
    assert list(own.runtime.iterdir()) == []


def test_no_key_on_disk(own: GatewaySettings, dead: Any, lasting: Spec, sentinel: str, upstream: Any) -> None:
    """What a dead runner leaves holds no key, and the token is its user's alone to read."""
    left = dead(lasting(model=upstream.model("ok")))
    insist(left.sessions[0], say())
    end(left.gateway)
    files = [path for path in Path(left.folder).rglob("*") if path.is_file()]
    holding = [path for path in files if left.sessions[0].token.encode() in path.read_bytes()]
    assert not [path for path in files if sentinel.encode() in path.read_bytes()]
    assert [path.stat().st_mode & 0o777 for path in holding] == [0o600]


def test_expired_session_closes_by_itself(own: GatewaySettings, lasting: Spec, wait_until: Any) -> None:
    """Without a runner a session ends at its time, then the gateway with its folder; another one's lasts."""
    with mortal(own, [lasting(15.0, answers=ANSWERS), lasting(answers=ANSWERS, run=2)]) as left:
        short, long = left.sessions
        insist(short, say())
        left.kill()
    wait_until(lambda: not short.directory.exists())
    assert insist(long, say())[0] == 200
    assert remove_leftovers(own.runtime) == []
    end(left.gateway)


def test_gateway_ends_when_its_last_session_has_expired(
    own: GatewaySettings, dead: Any, lasting: Spec, wait_until: Any
) -> None:
    """No gateway lives longer than the longest of its sessions may, and nothing is left of it."""
    left = dead(lasting(1.5, answers=ANSWERS), lasting(0.5, answers=ANSWERS, attempt=2))
    wait_until(lambda: not lives(left.gateway))
    assert list(own.runtime.iterdir()) == []


@pytest.mark.parametrize("expires", [None, 0.0])
def test_gateway_with_nothing_to_go_on_with_ends_at_once(
    own: GatewaySettings, make_spec: Spec, expires: float | None
) -> None:
    """With no session that outlives the runner, the gateway is gone soon after the runner's death."""
    with mortal(own, [dataclasses.replace(make_spec(answers=ANSWERS), expires=expires)]) as runner:
        runner.kill()
        died = time.monotonic()
        while lives(runner.gateway):
            time.sleep(0.01)
            assert time.monotonic() - died < 30.0
    assert list(own.runtime.iterdir()) == []


def test_each_folder_has_its_own(own: GatewaySettings, dead: Any, lasting: Spec, tmp_path: Path) -> None:
    """Gateways that runners of two output folders left are taken over by the next runner of their own alone."""
    other = tmp_path / "others"
    other.mkdir()
    spec, theirs = lasting(answers=ANSWERS), lasting(answers=ANSWERS, run=2)
    first, second = dead(spec), dead(theirs, home=other)
    assert remove_leftovers(own.runtime) == []
    with living(dataclasses.replace(own, home=other)) as gateway:
        assert gateway.pid == second.gateway
        assert gateway.open(spec).token != first.sessions[0].token
        assert gateway.open(theirs) == second.sessions[0]
    assert insist(first.sessions[0], say())[0] == 200
    with living(own) as gateway:
        assert gateway.pid == first.gateway
    assert list(own.runtime.iterdir()) == []


def test_open_session_keeps_its_key_and_a_new_one_has_the_new(
    own: GatewaySettings, dead: Any, lasting: Spec, upstream: Any, sentinel: str
) -> None:
    """A second runner with another key changes nothing for what is open; what it opens itself has its key."""
    spec = lasting(model=upstream.model("ok"))
    left = dead(spec)
    with living(dataclasses.replace(own, key=SecretStr("sk-other"))) as gateway:
        assert gateway.pid == left.gateway
        insist(gateway.open(spec), say())
        insist(gateway.open(dataclasses.replace(spec, attempt=2)), say())
    assert [one["Authorization"] for one in upstream.headers[-2:]] == [f"Bearer {sentinel}", "Bearer sk-other"]


def test_other_proxies_replace_the_process(own: GatewaySettings, dead: Any, lasting: Spec) -> None:
    """What a process has read from its environment cannot change: another one goes on in its folder."""
    spec = lasting(answers=ANSWERS)
    left = dead(spec)
    insist(left.sessions[0], say())
    with living(dataclasses.replace(own, environment={"NO_PROXY": "*"})) as gateway:
        session = gateway.open(spec)
        assert session == left.sessions[0]
        assert gateway.pid != left.gateway
        assert insist(session, say())[1]["choices"][0]["message"]["content"] == "second"
    assert not lives(left.gateway)


def test_other_language_replaces_nothing(own: GatewaySettings, dead: Any, lasting: Spec) -> None:
    """What does not change how a provider is reached, like the search path of another terminal, is no reason."""
    left = dead(lasting(answers=ANSWERS), environment={"PATH": "/bin", "LANG": "C"})
    with living(dataclasses.replace(own, environment={"PATH": "/usr/bin", "TZ": "UTC"})) as gateway:
        assert gateway.pid == left.gateway


def test_output_folder_by_another_name(own: GatewaySettings, dead: Any, lasting: Spec, tmp_path: Path) -> None:
    """A folder that is reached through a link is the same one, and so are its calls files."""
    spec = lasting(answers=ANSWERS)
    left = dead(spec)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    same = dataclasses.replace(spec, calls_file=link / spec.calls_file.relative_to(tmp_path))
    with living(dataclasses.replace(own, home=link / "runs")) as gateway:
        assert gateway.open(same) == left.sessions[0]


def test_gateway_that_hangs_is_replaced(
    own: GatewaySettings, dead: Any, lasting: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not answer the next runner is killed, and another one goes on in its folder."""
    monkeypatch.setattr(taken, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(taken, "_LAST_WORDS_SECONDS", 0.1)
    spec = lasting(answers=ANSWERS)
    left = dead(spec)
    os.kill(left.gateway, signal.SIGSTOP)
    with living(own) as gateway:
        assert gateway.open(spec) == left.sessions[0]
        assert insist(left.sessions[0], say())[0] == 200
    assert not lives(left.gateway)


def test_gateway_that_was_taken_over_is_started_again(own: GatewaySettings, dead: Any, lasting: Spec) -> None:
    """If it dies under its next runner, it is replaced like any other, and goes on where it was."""
    spec = lasting(answers=ANSWERS)
    left = dead(spec)
    with living(own) as gateway:
        session = gateway.open(spec)
        insist(session, say())
        end(left.gateway)
        assert insist(session, say())[1]["choices"][0]["message"]["content"] == "second"
        assert gateway.close(session).api_calls == 2
        assert len(gateway.deaths) == 1


@pytest.mark.parametrize("and_gateway", [False, True])
def test_budget_counts_what_was_used_before(
    own: GatewaySettings, dead: Any, lasting: Spec, *, and_gateway: bool
) -> None:
    """The experiment's budget goes on over both deaths, and calls made while nobody listened count, once."""
    own = dataclasses.replace(own, budget=Budget(calls=5), experiment="e")
    spec = lasting(answers=ANSWERS)
    left = dead(spec, budget=own.budget, experiment="e", spent=Spent(calls=1))
    insist(left.sessions[0], say())
    insist(left.sessions[0], say())
    spent = Spent(calls=3)
    if and_gateway:
        end(left.gateway)
    else:
        # The next runner added them up before the second of them had ended.
        spent = Spent(calls=2)
    with living(dataclasses.replace(own, spent=spent)) as gateway:
        session = gateway.open(spec)
        assert insist(session, say())[0] == 200
        end(gateway.pid)
        second = gateway.open(lasting(answers=ANSWERS, attempt=2))
        assert insist(second, say())[0] == 200
        assert insist(second, say())[1]["error"]["code"] == "budget_exceeded"


def test_another_experiments_budget_is_its_own(own: GatewaySettings, dead: Any, lasting: Spec) -> None:
    """What a dead runner's experiment has used up is not taken from another one's, whose runner takes over."""
    spec = lasting(answers=ANSWERS)
    left = dead(spec, budget=Budget(calls=1), experiment="e")
    insist(left.sessions[0], say())
    with living(dataclasses.replace(own, budget=Budget(calls=1), experiment="f")) as gateway:
        assert insist(gateway.open(spec), say())[1]["error"]["code"] == "budget_exceeded"
        assert insist(gateway.open(lasting(answers=ANSWERS, attempt=2)), say())[0] == 200


def test_new_attempt_ends_what_its_step_had_open(own: GatewaySettings, dead: Any, lasting: Spec) -> None:
    """Whoever opens another attempt of a step, instead of taking up the one there was, ends that one's session."""
    spec, other = lasting(answers=ANSWERS), lasting(answers=ANSWERS, run=2)
    left = dead(spec, other)
    with living(own) as gateway:
        gateway.open(dataclasses.replace(spec, attempt=2))
        assert not left.sessions[0].directory.exists()
        assert insist(left.sessions[1], say())[0] == 200


@pytest.mark.parametrize("alive", [True, False])
def test_forgotten_session_is_closed(own: GatewaySettings, dead: Any, lasting: Spec, *, alive: bool) -> None:
    """A run whose directory is set aside has no session that could add to it, whether its gateway lives or not."""
    spec = lasting(answers=ANSWERS)
    left = dead(spec)
    if not alive:
        end(left.gateway)
    forget(own.runtime, spec.calls_file)
    assert not left.sessions[0].directory.exists()
    with living(own) as gateway:
        assert gateway.open(spec).token != left.sessions[0].token


def test_runner_forgets_what_nobody_takes_up(own: GatewaySettings, dead: Any, lasting: Spec) -> None:
    """A gateway's client closes sessions of a calls file that nobody has taken up, and leaves those that somebody has."""
    spec, other = lasting(answers=ANSWERS), lasting(answers=ANSWERS, run=2)
    left = dead(spec, other)
    with living(own) as gateway:
        kept = gateway.open(other)
        gateway.forget(spec.calls_file)
        assert not left.sessions[0].directory.exists()
        assert insist(kept, say())[0] == 200


def test_dead_gateways_folder_goes_when_its_sessions_have_expired(
    own: GatewaySettings, dead: Any, lasting: Spec, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody may go on with any more is removed by whoever looks next, and calls under way have their lines."""
    left = dead(lasting(answers=ANSWERS))
    end(left.gateway)
    assert abandoned(own.runtime) == []
    later = boottime() + 3600
    monkeypatch.setattr(leftovers, "boottime", lambda: later)
    wait_until(lambda: abandoned(own.runtime) == [Path(left.folder)])
    assert remove_leftovers(own.runtime) == [Path(left.folder)]
    assert list(own.runtime.iterdir()) == []


@pytest.mark.parametrize("told", [0, 1])
def test_sessions_that_were_never_reopened_are_not_lost(
    own: GatewaySettings, dead: Any, lasting: Spec, told: int
) -> None:
    """A runner that dies before it has told its new process of all old sessions leaves them to the next."""
    specs = [lasting(answers=ANSWERS), lasting(answers=ANSWERS, run=2)]
    left = dead(*specs)
    end(left.gateway)
    estate = enter(own)
    assert isinstance(estate.process, Child)
    assert estate.process.await_ready()
    for one in estate.closed[:told]:
        estate.process.request("POST", "/sessions", opening(one.spec, None, one.session), 60)
    _die(estate)
    with living(own) as gateway:
        assert (gateway.pid == estate.process.process.pid) is bool(told)
        for spec, session in zip(specs, left.sessions, strict=True):
            assert gateway.open(spec) == session
            assert insist(session, say())[0] == 200
    estate.process.process.wait()


def _die(estate: Estate) -> None:
    """Let go of everything as the kernel does for a runner that dies."""
    assert isinstance(estate.process, Child)
    assert estate.process.process.stdin is not None
    estate.process.process.stdin.close()
    estate.process.hang_up()
    for held in (estate.held, estate.owned):
        assert held is not None
        os.close(held)


def test_expired_attempt_goes_on_counting(own: GatewaySettings, lasting: Spec) -> None:
    """Calls of a fresh session for an attempt whose own has expired go on counting where the file ends."""
    spec = lasting(15.0, answers=ANSWERS)
    with mortal(own, [spec]) as left:
        insist(left.sessions[0], say())
        left.kill()
    while lives(left.gateway):
        time.sleep(0.01)
    with living(own) as gateway:
        session = gateway.open(lasting(answers=ANSWERS))
        assert session.token != left.sessions[0].token
        insist(session, say())
        assert gateway.close(session).api_calls == 2
    assert [call.n for call in read_calls(spec.calls_file).calls] == [1, 2]
