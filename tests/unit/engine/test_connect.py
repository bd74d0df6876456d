"""Finding an engine, and saying what to do when there is none that can be used."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from runner.engine import docker
from runner.engine.docker import connect
from runner.errors import EngineError, ExitCode

VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"}
INFO = {
    "CgroupVersion": "2",
    "CgroupDriver": "systemd",
    "NCPU": 8,
    "MemTotal": 33_000_000_000,
    "SecurityOptions": ["name=seccomp,profile=default", "name=rootless", "name=cgroupns"],
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "DockerRootDir": "/home/user/.local/share/docker",
    "KernelVersion": "6.1.0",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "InitBinary": "docker-init",
    "InitCommit": {"ID": "de40ad0", "Expected": "de40ad0"},
}


def test_an_engine_describes_itself(stub: Any) -> None:
    """What the engine tells becomes the info, asked for once."""
    stub.answer("GET /info", (200, INFO))
    with connect({"DOCKER_HOST": stub.host}) as engine:
        info = engine.info()
        assert engine.info() is info
    assert (info.version, info.api_version, info.platform) == ("20.10.24", "1.41", "linux/amd64")
    assert (info.cgroup_version, info.cgroup_driver, info.rootless, info.has_init) == (2, "systemd", True, True)
    assert (info.cpus, info.memory, info.local, info.containerd_images) == (8, 33_000_000_000, True, False)
    assert stub.asked == ["GET /version", "GET /v1.41/info"]


@pytest.mark.parametrize(
    ("changed", "field", "value"),
    [
        ({"SecurityOptions": None}, "rootless", False),
        ({"InitCommit": {"ID": "N/A"}}, "has_init", False),
        ({"InitBinary": ""}, "has_init", False),
        ({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, "containerd_images", True),
        ({"CgroupVersion": ""}, "cgroup_version", 1),
    ],
)
def test_engines_differ(stub: Any, changed: dict[str, object], field: str, value: object) -> None:
    """Each way in which engines differ is recognised."""
    stub.answer("GET /info", (200, {**INFO, **changed}))
    with connect({"DOCKER_HOST": stub.host}) as engine:
        assert getattr(engine.info(), field) == value


@pytest.mark.parametrize(("newest", "spoken"), [("1.41", "1.41"), ("1.45", "1.45"), ("1.60", "1.48")])
def test_the_newest_common_api_is_spoken(stub: Any, newest: str, spoken: str) -> None:
    """A newer engine is asked to speak the API that is known here."""
    stub.answer("GET /version", (200, {**VERSION, "ApiVersion": newest}))
    stub.answer("GET /info", (200, INFO))
    with connect({"DOCKER_HOST": stub.host}) as engine:
        assert engine.info().api_version == spoken
    assert stub.asked[-1] == f"GET /v{spoken}/info"


def test_an_old_engine_is_refused(stub: Any) -> None:
    """An engine older than 20.10 is refused with both versions and what to do."""
    stub.answer("GET /version", (200, {**VERSION, "Version": "19.03.15", "ApiVersion": "1.40"}))
    with pytest.raises(EngineError) as caught, connect({"DOCKER_HOST": stub.host}):
        pass
    assert caught.value.what == "Docker engine 19.03.15 speaks API 1.40, but at least 1.41 is needed"
    assert "make engine" in caught.value.hint


def test_an_engine_too_new_is_refused(stub: Any) -> None:
    """An engine that has dropped every API known here is refused."""
    stub.answer("GET /version", (200, {**VERSION, "ApiVersion": "1.70", "MinAPIVersion": "1.60"}))
    with pytest.raises(EngineError, match=r"refuses every API older than 1\.60"), connect({"DOCKER_HOST": stub.host}):
        pass


def test_an_absent_engine_says_how_to_get_one(tmp_path: Path) -> None:
    """Where no socket is, the place is named and `make engine` recommended."""
    place = f"unix://{tmp_path}/engine.sock"
    with pytest.raises(EngineError) as caught, connect({"DOCKER_HOST": place}):
        pass
    assert caught.value.exit_code is ExitCode.ENGINE
    assert caught.value.what == f"no Docker engine answers at {place}"
    assert caught.value.why == "[Errno 2] No such file or directory"
    assert caught.value.hint == "`make engine` installs and starts one; if yours is elsewhere, set DOCKER_HOST"


def test_a_refused_user_is_told_of_the_group(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the socket may not be used, the docker group and the command to join it are named."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("socket.socket.connect", refuse)  # root may connect to any socket
    with pytest.raises(EngineError) as caught, connect({"DOCKER_HOST": stub.host}):
        pass
    assert caught.value.what == f"this user may not talk to the Docker engine at {stub.host}"
    assert "usermod -aG docker" in caught.value.hint


def test_a_refusal_matters_more_than_an_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one place is empty and the other refuses, the refusal is told."""
    places = [f"unix://{tmp_path}/engine.sock", "nonsense://x"]
    monkeypatch.setattr(docker, "_places", lambda _: places)
    with pytest.raises(EngineError, match="nonsense://x is no address"), connect({}):
        pass


def test_nothing_listening_is_absence() -> None:
    """A TCP address where nothing listens is an engine that does not answer."""
    with (
        pytest.raises(EngineError, match=r"no Docker engine answers at tcp://127\.0\.0\.1:1"),
        connect({"DOCKER_HOST": "tcp://127.0.0.1:1"}),
    ):
        pass


@pytest.mark.parametrize("host", ["nonsense://x", "/var/run/x.sock", "tcp://host:port"])
def test_a_bad_address_is_refused(host: str) -> None:
    """A DOCKER_HOST that is no address is an error that quotes it."""
    with pytest.raises(EngineError) as caught, connect({"DOCKER_HOST": host}):
        pass
    assert host in caught.value.what


def test_a_socket_is_local_however_it_is_written(stub: Any) -> None:
    """The short form of a socket's address is known to be on this machine."""
    stub.answer("GET /info", (200, INFO))
    with connect({"DOCKER_HOST": stub.host.replace("unix://", "unix:")}) as engine:
        assert engine.info().local


def test_places_in_order() -> None:
    """DOCKER_HOST decides alone; else the machine's socket comes before the user's own."""
    assert docker._places({"DOCKER_HOST": "tcp://lab:2375", "XDG_RUNTIME_DIR": "/run/user/7"}) == ["tcp://lab:2375"]
    assert docker._places({"XDG_RUNTIME_DIR": "/run/user/7"}) == [
        "unix:///var/run/docker.sock",
        "unix:///run/user/7/docker.sock",
    ]


def test_the_next_place_is_tried(stub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rootless engine is found where the machine has none."""
    monkeypatch.setattr(docker, "_places", lambda _: [f"unix://{tmp_path}/engine.sock", stub.host])
    stub.answer("GET /info", (200, INFO))
    with connect({}) as engine:
        assert engine.info().rootless
