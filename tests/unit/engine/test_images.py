"""Reading the engine's image archives and messages."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from runner.engine.docker import connect
from runner.engine.images import config_digest
from runner.errors import EngineError, ImageError

HEX = "ab" * 32
INFO: dict[str, Any] = {
    "CgroupDriver": "cgroupfs",
    "NCPU": 1,
    "MemTotal": 1,
    "SecurityOptions": [],
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "DockerRootDir": "/",
    "KernelVersion": "6",
    "OperatingSystem": "x",
    "InitBinary": "docker-init",
    "InitCommit": {"ID": "1"},
}


def _archive(config: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in (("layer.tar", b"x" * 200_000), ("manifest.json", json.dumps([{"Config": config}]).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize("config", [f"{HEX}.json", f"blobs/sha256/{HEX}"])
def test_config_digest_in_either_layout(config: str) -> None:
    """The config's digest is read from old and new archives."""
    assert config_digest(io.BytesIO(_archive(config))) == f"sha256:{HEX}"


def test_an_archive_without_digest_is_refused() -> None:
    """An archive whose manifest names no digest is an error."""
    with pytest.raises(ImageError, match="no manifest that names"):
        config_digest(io.BytesIO(_archive("config.json")))


def test_containerd_images_are_told_by_their_config(stub: Any) -> None:
    """With containerd's store the id is a manifest's, and the config's digest is read from the image, once."""
    stub.answer("GET /info", (200, INFO))
    image = {"Id": "sha256:m", "RepoTags": ["a:1"], "Config": {"Labels": {"k": "v"}}, "Size": 5, "Created": "then"}
    stub.answer("GET /images/a:1/json", (200, image))
    stub.answer("GET /images/sha256:m/get", (200, _archive(f"blobs/sha256/{HEX}")))
    with connect({"DOCKER_HOST": stub.host}) as engine:
        for _ in range(2):
            found = engine.images.inspect("a:1")
            assert found is not None
            assert (found.id, found.config_digest, found.labels) == ("sha256:m", f"sha256:{HEX}", {"k": "v"})
    assert sum(asked.endswith("/get") for asked in stub.asked) == 1


def test_a_failed_build_shows_its_last_lines(stub: Any) -> None:
    """The log is yielded as it comes; a failure names the tag and ends with the last lines."""
    lines = [{"stream": f"line {number}\n"} for number in range(40)] + [{"error": "exit code 7\n"}]
    stub.answer("POST /build", (200, "\r\n".join(json.dumps(line) for line in lines).encode()))
    seen: list[str] = []
    with connect({"DOCKER_HOST": stub.host}) as engine, pytest.raises(ImageError) as caught:
        seen.extend(engine.images.build(io.BytesIO(), args={}, labels={}, tag="a:1"))
    assert seen == [f"line {number}\n" for number in range(40)]
    assert caught.value.what == "building a:1 failed: exit code 7"
    assert caught.value.why.splitlines()[0] == "line 10"
    assert caught.value.why.splitlines()[-1] == "line 39"


def test_a_refused_archive_is_an_image_error(stub: Any) -> None:
    """What the engine says against an archive is raised when it is loaded."""
    stub.answer("POST /images/load", (200, {"errorDetail": {}, "error": "invalid archive"}))
    with connect({"DOCKER_HOST": stub.host}) as engine, pytest.raises(ImageError, match="invalid archive"):
        engine.images.transfer(io.BytesIO())


def test_a_volume_known_by_its_name_alone_is_asked_for(stub: Any) -> None:
    """An engine that has just started answers with nothing but the name of what is there already."""
    whole = {"Name": "v", "Options": {"device": "/d"}, "Labels": {"a": "b"}}
    stub.answer("POST /volumes/create", (201, {"Name": "v", "Driver": "local", "Options": None, "Labels": None}))
    stub.answer("GET /volumes/v", (200, whole))
    with connect({"DOCKER_HOST": stub.host}) as engine:
        engine.volumes.create("v", device="/d", labels={"a": "b"})
    stub.answer("GET /volumes/v", (200, {**whole, "Options": {"device": "/e"}}))
    with (
        connect({"DOCKER_HOST": stub.host}) as engine,
        pytest.raises(EngineError, match="exists already over /e, not over /d"),
    ):
        engine.volumes.create("v", device="/d", labels={"a": "b"})


def test_a_volume_over_another_folder_is_refused(stub: Any) -> None:
    """A volume that exists over another folder is an error that names both."""
    stub.answer("POST /volumes/create", (201, {"Name": "v", "Options": {"device": "/old"}}))
    with connect({"DOCKER_HOST": stub.host}) as engine, pytest.raises(EngineError) as caught:
        engine.volumes.create("v", device="/new", labels={})
    assert caught.value.what == "a volume named v exists already over /old, not over /new"
