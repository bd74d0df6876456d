"""Unit tests talk to no engine and no network, and start processes only when they say so."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

_allowed = {"active": False, "processes": False}
_LOOPBACK = ("127.", "localhost", "::1")


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    if not _allowed["active"]:
        return
    if event == "socket.connect" and not _is_local(arguments[1]):
        raise RuntimeError(f"a unit test may not connect to {arguments[1]!r}")
    if event in {"subprocess.Popen", "os.posix_spawn", "os.system"} and not _allowed["processes"]:
        raise RuntimeError(f"a unit test starts a process without the marker `processes`: {arguments[:2]!r}")


def _is_local(address: object) -> bool:
    if isinstance(address, tuple):
        return str(address[0]).startswith(_LOOPBACK)
    return "docker" not in str(address)


sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def _hermetic(request: pytest.FixtureRequest) -> Iterator[None]:
    _allowed.update(active=True, processes=request.node.get_closest_marker("processes") is not None)
    yield
    _allowed.update(active=False)
