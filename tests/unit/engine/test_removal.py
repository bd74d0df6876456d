"""Removing a container of an engine whose answers get lost, come late, or are not true."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine.docker import connect
from runner.errors import EngineError

_DELETE, _LOOK = "DELETE /containers/c", "GET /containers/c/json"
_NONE = (404, {"message": "No such container: c"})
_REFUSED = (409, {"message": "cannot remove container c"})
_GONE = (204, None)
_THERE = (
    200,
    {
        "Id": "c",
        "Name": "/c",
        "State": {
            "Status": "exited",
            "ExitCode": 0,
            "OOMKilled": False,
            "Error": "",
            "StartedAt": "2026-01-01T00:00:00Z",
            "FinishedAt": "2026-01-01T00:00:01Z",
        },
        "Config": {"Labels": {}},
    },
)


@pytest.mark.parametrize(
    ("removals", "looks"),
    [
        ([_GONE], []),
        ([_NONE], [_NONE]),
        ([_REFUSED], [_NONE]),
        ([_NONE, _GONE], [_THERE]),
        ([_REFUSED, _GONE], [_THERE]),
        ([_REFUSED, _NONE], [_THERE, _NONE]),
    ],
    ids=["removed", "was gone", "removed, but lost", "said to be gone", "refused once", "being removed"],
)
def test_what_is_there_is_removed(stub: Any, removals: list[Any], looks: list[Any]) -> None:
    """Whatever is answered, a look tells whether it is gone; if not, it is tried again."""
    stub.answer(_DELETE, *removals)
    stub.answer(_LOOK, *looks or [_NONE])
    with connect({"DOCKER_HOST": stub.host}) as engine:
        engine.containers.remove("c")
    asked = [call.replace("/v1.41", "").partition("?")[0] for call in stub.asked]
    assert (asked.count(_DELETE), asked.count(_LOOK)) == (len(removals), len(looks))


@pytest.mark.parametrize("answer", [_NONE, _REFUSED])
def test_what_stays_is_told(stub: Any, answer: Any) -> None:
    """A container that is still there after some tries is an error, whatever the engine says."""
    stub.answer(_DELETE, answer)
    stub.answer(_LOOK, _THERE)
    with connect({"DOCKER_HOST": stub.host}) as engine, pytest.raises(EngineError):
        engine.containers.remove("c")
