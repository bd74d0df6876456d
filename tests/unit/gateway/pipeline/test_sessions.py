"""Sessions in this process: what they share, what a new process finds of them, and that they leave nothing behind."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from runner.errors import ConfigError
from runner.gateway.calls import append_call, read_calls
from runner.gateway.pending import SUFFIX, Pending
from runner.gateway.session import Listen, Session, SessionSpec, Totals
from runner.gateway.sessions import Sessions
from runner.gateway.settings import Spent
from runner.spec.model import Budget, Budgets, Model

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": []}
ANSWERS = "version: 1\nsteps: {one: [{content: first}, {content: second}, {content: third}]}"
Spec = Callable[..., SessionSpec]


async def _within(folder: Path, test: Callable[[Sessions], Awaitable[None]], more: dict[str, Any]) -> None:
    async with aiohttp.ClientSession() as http:
        sessions = Sessions(folder=folder, http=http, key=None, base_url="", drain_seconds=1.0, **more)
        await test(sessions)
        for identity in list(sessions.by_id):
            await sessions.close(identity)


@pytest.fixture
def within(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Return what runs a test's coroutine with a process's sessions, and sees that they leave nothing."""

    def run(test: Callable[[Sessions], Awaitable[None]], **more: Any) -> None:
        folder = tmp_path_factory.mktemp("s")
        asyncio.run(_within(folder, test, more))
        assert list(folder.iterdir()) == []

    return run


async def ask(session: Session) -> tuple[int, str]:
    """Make a call in a session, over its socket; return its status and what was said."""
    connector = aiohttp.UnixConnector(str(session.directory / "gateway.sock"))
    headers = {"x-api-key": session.token}
    async with (
        aiohttp.ClientSession(connector=connector) as client,
        client.post(f"http://g{CHAT}", json=BODY, headers=headers) as response,
    ):
        answer = await response.json()
        return response.status, answer["choices"][0]["message"]["content"] if "choices" in answer else str(answer)


def test_budget_of_a_run_is_shared_by_its_sessions(within: Any, make_spec: Spec) -> None:
    """Two sessions of one run draw on one purse, a later one finds what is spent; another run has its own."""
    spec = dataclasses.replace(make_spec(answers=ANSWERS), budgets=Budgets(run=Budget(calls=2)))
    second = dataclasses.replace(spec, attempt=2)

    async def test(sessions: Sessions) -> None:
        one, two = await sessions.open(spec), await sessions.open(second)
        assert [(await ask(session))[0] for session in (one, two, one)] == [200, 200, 403]
        totals: Totals = await sessions.close(one.id)
        assert totals.exceeded == "budgets.run.calls is 2 and 2 are used"
        await sessions.close(two.id)
        third = await sessions.open(dataclasses.replace(spec, attempt=3))
        assert (await ask(third))[0] == 403
        other = await sessions.open(dataclasses.replace(spec, run="another-r1", attempt=4))
        assert (await ask(other))[0] == 200

    within(test)


def test_sessions_of_one_run_that_open_together_share_its_budget(within: Any, make_spec: Spec) -> None:
    """Steps of a run that begin side by side draw on one purse, which is gone when they are."""
    spec = dataclasses.replace(make_spec(answers=ANSWERS), budgets=Budgets(run=Budget(calls=4)))
    steps = [dataclasses.replace(spec, attempt=number) for number in range(1, 6)]

    async def test(sessions: Sessions) -> None:
        opened = await asyncio.gather(*(sessions.open(one) for one in steps))
        assert [(await ask(session))[0] for session in opened] == [200, 200, 200, 200, 403]
        await asyncio.gather(*(sessions.close(one.id) for one in opened))
        refused = dataclasses.replace(spec, answers=spec.calls_file.with_name("none.yaml"))
        with pytest.raises(ConfigError):
            await sessions.open(refused)
        assert not sessions._run_purses

    within(test)


def test_budget_of_the_experiment_is_one_for_all(within: Any, make_spec: Spec) -> None:
    """All sessions of a process draw on the experiment's purse, of which some was spent before."""
    spec = make_spec(answers=ANSWERS)

    async def test(sessions: Sessions) -> None:
        one = await sessions.open(spec)
        two = await sessions.open(dataclasses.replace(spec, run="another-r1", attempt=2))
        assert [(await ask(session))[0] for session in (one, two)] == [200, 403]

    within(test, budget=Budget(calls=3), spent=Spent(calls=2))


def test_session_opened_again_goes_on_where_its_calls_end(within: Any, make_spec: Spec, tmp_path: Path) -> None:
    """Id, token, folder, numbers and the next answer are as before; a call that was under way has its line."""
    spec = make_spec(answers=ANSWERS)

    async def before(sessions: Sessions) -> None:
        session = await sessions.open(spec)
        assert await ask(session) == (200, "first")

    within(before)

    async def after(sessions: Sessions) -> None:
        old = Session(id="abcd", token="run-old", directory=sessions.folder / "abcd")
        old.directory.mkdir()
        (old.directory / "gateway.sock").touch()
        pending = Pending(sessions.folder / f"abcd{SUFFIX}")
        pending.begin(2, {"path": CHAT})
        session = await sessions.open(spec, old)
        assert session == old
        assert await ask(session) == (200, "second")
        totals = await sessions.close("abcd")
        assert totals.api_calls == 3

    within(after)
    calls = read_calls(spec.calls_file).calls
    assert [(call.n, call.status) for call in calls] == [(1, 200), (2, 0), (3, 200)]


def test_calls_of_other_attempts_are_not_counted(within: Any, make_spec: Spec) -> None:
    """A new attempt begins with the first answer and the first number, whatever others did."""
    spec = make_spec(answers=ANSWERS)

    async def test(sessions: Sessions) -> None:
        one = await sessions.open(spec)
        await ask(one)
        await sessions.close(one.id)
        two = await sessions.open(dataclasses.replace(spec, attempt=2))
        assert await ask(two) == (200, "first")
        assert (await sessions.close(two.id)).api_calls == 1

    within(test)


def test_open_that_fails_leaves_nothing(within: Any, make_spec: Spec, tmp_path: Path) -> None:
    """Missing answers and a port that is taken are errors, after which no folder is there."""

    async def test(sessions: Sessions) -> None:
        with pytest.raises(ConfigError, match="no scripted answers"):
            await sessions.open(make_spec())
        listening = await sessions.open(make_spec(answers=ANSWERS), listen=Listen())
        port = sessions.by_id[listening.id].port
        with pytest.raises(OSError, match="in use"):
            await sessions.open(make_spec(answers=ANSWERS, attempt=2), listen=Listen(port=port or 0))
        await sessions.close(listening.id)
        assert list(sessions.folder.iterdir()) == []

    within(test)


def test_session_listens_where_it_is_told(within: Any, make_spec: Spec, tmp_path: Path) -> None:
    """A port or a socket of the user's choice is served with the token of the user's choice, and gone when it closes."""
    place = tmp_path / "own.sock"

    async def test(sessions: Sessions) -> None:
        session = await sessions.open(make_spec(answers=ANSWERS), listen=Listen(token="own-token"))
        url = f"http://127.0.0.1:{sessions.by_id[session.id].port}{CHAT}"
        async with (
            aiohttp.ClientSession(headers={"api-key": "own-token"}) as client,
            client.post(url, json=BODY) as response,
        ):
            assert response.status == 200
        other = await sessions.open(make_spec(answers=ANSWERS, attempt=2), listen=Listen(path=place))
        assert place.is_socket()
        await sessions.close(other.id)
        assert not place.exists()

    within(test)


def test_answer_counted_as_given_only_if_it_was(within: Any, make_spec: Spec) -> None:
    """After a restart a refused call's answer is still to come, a client that left took its own."""
    spec = make_spec(answers=ANSWERS)

    async def before(sessions: Sessions) -> None:
        await ask(await sessions.open(spec))

    within(before)
    (call,) = read_calls(spec.calls_file).calls
    append_call(spec.calls_file, call.model_copy(update={"n": 2, "error": "drift", "fault": "runner", "status": 400}))
    append_call(spec.calls_file, call.model_copy(update={"n": 3, "client_gone": True}))

    async def after(sessions: Sessions) -> None:
        assert await ask(await sessions.open(spec)) == (200, "third")

    within(after)


def test_model_is_needed_for_calls_only(within: Any, make_spec: Spec) -> None:
    """A session without a model opens, refuses calls, and says whether it has other ways out."""
    spec = dataclasses.replace(make_spec(model=Model()), model=None, allow=("example.org",))

    async def test(sessions: Sessions) -> None:
        session = await sessions.open(spec)
        assert (session.proxy, session.packages) == (True, False)
        assert (await ask(session))[0] == 404
        assert (await sessions.close(session.id)).denied == ()

    within(test)
