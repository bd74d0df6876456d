"""Calls of the engine's API: retries, deadlines, and what errors become."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from runner.engine import api, containers, observer
from runner.engine.api import TimedOut
from runner.engine.docker import connect, listener
from runner.engine.protocol import ContainerSpec, Engine, NotFound, Resources, Unanswered
from runner.errors import EngineError

STATE = {
    "Id": "c1",
    "Name": "/one",
    "State": {
        "Status": "exited",
        "ExitCode": 7,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": "2026-01-02T03:04:05.123456789Z",
        "FinishedAt": "2026-01-02T03:04:06.5Z",
    },
    "Config": {"Labels": None},
}
INSPECT = "GET /containers/c1/json"
PASSING = (500, {"message": "rpc error: context deadline exceeded"})
CUT = (0, None)


@pytest.fixture
def engine(stub: Any) -> Iterator[Engine]:
    """Connect to the stub; retries do not wait."""
    with mock.patch.object(api._RETRYING, "sleep"), connect({"DOCKER_HOST": stub.host}) as connected:
        yield connected


@pytest.mark.parametrize("trouble", [PASSING, CUT, (503, {"message": "busy"})])
def test_a_passing_trouble_is_tried_again(stub: Any, engine: Engine, trouble: Any) -> None:
    """A read that meets a passing trouble is made again, and succeeds."""
    stub.answer(INSPECT, trouble, trouble, (200, STATE))
    state = engine.observer.inspect("c1")
    assert (state.exit_code, state.started_at, state.finished_at) == (7, 1767323045.123456, 1767323046.5)
    assert len(stub.asked) == 4


def test_time_does_not_run_backwards(stub: Any, engine: Engine) -> None:
    """A start that the engine noted after the end counts as at the end."""
    late = {**STATE["State"], "StartedAt": "2026-01-02T03:04:06.75Z"}  # type: ignore[dict-item]  # a nested mapping
    stub.answer(INSPECT, (200, {**STATE, "State": late}))
    state = engine.observer.inspect("c1")
    assert state.started_at == state.finished_at == 1767323046.5


def test_retries_have_an_end(stub: Any, engine: Engine) -> None:
    """After five tries the error reaches the caller, with the engine's words."""
    stub.answer(INSPECT, PASSING)
    with pytest.raises(Unanswered, match="context deadline exceeded"):
        engine.observer.inspect("c1")
    assert stub.asked.count("GET /v1.41/containers/c1/json") == 5


def test_a_fault_of_the_engine_is_tried_again_twice(stub: Any, engine: Engine) -> None:
    """An error 5xx that names no passing condition is raised after three tries, with call and place as the reason."""
    stub.answer(INSPECT, (500, {"message": "no space left on device"}))
    with pytest.raises(EngineError) as caught:
        engine.observer.inspect("c1")
    assert not isinstance(caught.value, Unanswered)
    assert caught.value.what == "no space left on device"
    assert caught.value.why == f"the engine at {stub.host} answered 500 to GET /containers/c1/json"
    assert stub.asked.count("GET /v1.41/containers/c1/json") == 3


def test_a_refusal_is_not_tried_again(stub: Any, engine: Engine) -> None:
    """An error 4xx is raised at once: the same call would be refused again."""
    stub.answer(INSPECT, (400, {"message": "bad parameter"}), (200, STATE))
    with pytest.raises(EngineError, match="bad parameter"):
        engine.observer.inspect("c1")


def test_half_an_answer_is_tried_again(stub: Any, engine: Engine) -> None:
    """An answer that breaks off within its JSON counts as lost."""
    stub.answer(INSPECT, (200, b'{"Id": "c1", "Na'), (200, STATE))
    assert engine.observer.inspect("c1").exit_code == 7


@pytest.mark.parametrize("trouble", [PASSING, CUT, (500, {"message": "server error"})])
def test_a_create_whose_answer_is_lost_is_looked_up(stub: Any, engine: Engine, trouble: Any) -> None:
    """The container that was created all the same is used, and nothing is created twice."""
    made = {**STATE, "State": {**STATE["State"], "Status": "created"}}  # type: ignore[dict-item]  # a nested mapping
    stub.answer("POST /containers/create", trouble, (201, {"Id": "another"}))
    stub.answer("GET /containers/one/json", (200, {**made, "Config": {"Labels": {"who": "we", "more": "1"}}}))
    assert engine.containers.create(replace(_spec(), labels={"who": "we"})) == "c1"


@pytest.mark.parametrize("found", [(404, {"message": "No such container"}), (200, STATE)])
def test_a_create_that_came_to_nothing_is_not_repeated(stub: Any, engine: Engine, found: Any) -> None:
    """Without a container of ours the error stands: none is there, or it is somebody else's."""
    stub.answer("POST /containers/create", CUT, (201, {"Id": "another"}))
    stub.answer("GET /containers/one/json", found)
    with pytest.raises(Unanswered, match="was lost during POST /containers/create"):
        engine.containers.create(replace(_spec(), labels={"who": "we"}))
    assert stub.asked.count("POST /v1.41/containers/create?name=one") == 1


@pytest.mark.parametrize("trouble", [PASSING, CUT])
def test_a_start_whose_answer_is_lost_is_looked_up(stub: Any, engine: Engine, trouble: Any) -> None:
    """A container that has started all the same, and perhaps ended since, is started once."""
    stub.answer("POST /containers/c1/start", trouble, (204, {}))
    stub.answer(INSPECT, (200, STATE))
    engine.containers.start("c1")
    assert stub.asked.count("POST /v1.41/containers/c1/start") == 1


def test_a_start_that_came_to_nothing_is_not_repeated(stub: Any, engine: Engine) -> None:
    """A container that has not started leaves the error standing."""
    unborn = {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"}
    stub.answer("POST /containers/c1/start", CUT, (204, {}))
    stub.answer(INSPECT, (200, {**STATE, "State": {**STATE["State"], **unborn}}))  # type: ignore[dict-item]  # nested
    with pytest.raises(Unanswered, match="was lost during POST /containers/c1/start"):
        engine.containers.start("c1")
    assert stub.asked.count("POST /v1.41/containers/c1/start") == 1


def test_a_wait_that_hangs_is_made_up_for(stub: Any, engine: Engine) -> None:
    """A container that has ended without an answer to who waits is found by a look at it."""
    stub.answer("POST /containers/c1/wait", (-1, None))
    stub.answer(INSPECT, (200, STATE))
    with mock.patch.object(containers, "_GLANCE", 0.1):
        state = engine.containers.wait("c1", 60.0)
    assert state is not None
    assert state.exit_code == 7


def test_a_log_that_falls_silent_is_lost(stub: Any, engine: Engine) -> None:
    """The log of a container that has ended does not keep anybody waiting for ever."""
    stub.answer("GET /containers/c1/logs", (-1, None))
    with mock.patch.object(observer, "IDLE", 0.1), pytest.raises(TimedOut, match=r"within 0.1 s to GET /containers/c1"):
        list(engine.observer.logs("c1"))


def test_an_engine_that_is_there_is_not_absent(stub: Any, engine: Engine) -> None:
    """Absence is asked anew each time, and says why."""
    stub.answer("HEAD /_ping", (200, b""), (503, b""))
    assert engine.absence() == ""
    assert engine.absence() == f"Service Unavailable (the engine at {stub.host} answered 503 to HEAD /_ping)"
    stub.answer("HEAD /_ping", CUT)
    assert engine.absence().startswith(f"the engine at {stub.host} was lost during HEAD /_ping")


def test_an_engine_is_known_by_the_process_that_listens(stub: Any, engine: Engine) -> None:
    """The same process is the same incarnation; where nobody listens there is none."""
    assert engine.incarnation() == listener(stub.host.removeprefix("unix://"))
    assert engine.incarnation().split()[0] == str(os.getpid())
    assert listener("/nowhere/engine.sock") == ""


def test_not_found_has_its_own_kind(stub: Any, engine: Engine) -> None:
    """Status 404 is NotFound, with the engine's words."""
    stub.answer(INSPECT, (404, {"message": "No such container: c1"}))
    with pytest.raises(NotFound, match="No such container: c1"):
        engine.observer.inspect("c1")


def test_an_error_that_is_no_json_is_shown(stub: Any, engine: Engine) -> None:
    """A proxy's page is shown rather than lost."""
    stub.answer(INSPECT, (502, b"<h1>Bad gateway</h1>"))
    with pytest.raises(EngineError, match="<h1>Bad gateway</h1>"):
        engine.observer.inspect("c1")


def test_a_deadline_holds(stub: Any) -> None:
    """A call that gets no answer ends when its deadline passes."""
    stub.answer("GET /slow", (-1, None))
    with connect({"DOCKER_HOST": stub.host}) as connected, pytest.raises(TimedOut, match=r"within 0.2 s to GET /slow"):
        connected._api.call("GET", "/slow", deadline=0.2)  # type: ignore[attr-defined]  # looks inside


def test_waiting_outlives_a_restart_of_the_engine(stub: Any, engine: Engine) -> None:
    """When the connection is lost while waiting, the container is looked at, and waited for again if it runs."""
    running = {**STATE, "State": {**STATE["State"], "Status": "running"}}  # type: ignore[dict-item]  # a nested mapping
    stub.answer("POST /containers/c1/wait", CUT, (200, {"StatusCode": 7}))
    stub.answer(INSPECT, CUT, (200, running), (200, STATE))
    state = engine.containers.wait("c1")
    assert state is not None
    assert state.exit_code == 7


def test_a_log_cut_short_is_an_error_unless_followed(stub: Any, engine: Engine) -> None:
    """Collecting tells of a broken connection; following just ends."""
    stub.answer("GET /containers/c1/logs", CUT)
    with pytest.raises(Unanswered):
        list(engine.observer.logs("c1"))
    assert list(engine.observer.logs("c1", follow=True)) == []


def test_removal_under_way_is_waited_for(stub: Any, engine: Engine) -> None:
    """A removal that somebody else has begun is asked again until the container is gone."""
    busy = (409, {"message": "removal of container c1 is already in progress"})
    stub.answer("DELETE /containers/c1", busy, (404, {"message": "No such container: c1"}))
    engine.containers.remove("c1")
    assert sum(one.startswith("DELETE ") for one in stub.asked) == 2


def test_a_name_in_use_says_what_to_do(stub: Any, engine: Engine) -> None:
    """A name conflict names the container and the command that helps."""
    text = 'Conflict. The container name "/one" is already in use by container "c0".'
    stub.answer("POST /containers/create", (409, {"message": text}))
    with pytest.raises(EngineError) as caught:
        engine.containers.create(_spec())
    assert caught.value.what == "a container named one exists already"
    assert "runner clean" in caught.value.hint


def test_an_image_in_use_is_left_alone(stub: Any, engine: Engine) -> None:
    """Removing an image in use does nothing."""
    stub.answer("DELETE /images/some:1", (409, {"message": "image is being used by running container c1"}))
    engine.images.remove("some:1")
    assert len(stub.asked) == 2


def _spec() -> ContainerSpec:
    return ContainerSpec(
        name="one",
        image="sha256:1",
        argv=("true",),
        env={},
        user="1:1",
        workdir="/",
        mounts=(),
        labels={},
        resources=Resources(cpus=1, memory=1, swap=0, pids=9, tmp=1, shm=1, log=1),
    )
