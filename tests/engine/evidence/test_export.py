"""What is exported is what engines open: every step an image with exactly that step's workspace."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.course import Course, steps_of
from support.fake_world import World as FakeWorld
from support.history_world import World, make_world
from support.layers import like_layers

from runner.engine.docker import connect
from runner.engine.protocol import Engine
from runner.evidence.history.escape import from_layer
from runner.evidence.history.export import export_file

_NAME = f"codegen-runner-test/history-{secrets.token_hex(4)}"
"""Of this process's own: the engine is others' as well."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Connect to the engine of this machine."""
    with connect(os.environ) as connected:
        yield connected


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world of three steps with additions, changes, deletions, links and names of every sort."""
    world = make_world(tmp_path / "run")
    workspace = world.workspace
    for name in ("app/main.py", "app/old.py", "docs/a", "docs/b", ".git/HEAD", ".wh.a", "file-then-folder", "x" * 150):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text(name)
    (workspace / "tool").write_text("#!/bin/sh\n")
    (workspace / "tool").chmod(0o4755)
    (workspace / "dir-then-link").mkdir()
    (workspace / "dir-then-link" / "inside").write_text("inside")
    os.link(workspace / "tool", workspace / "twin")
    with open(os.fsencode(workspace) + b"/not-utf8-\xff", "wb") as stream:  # noqa: PTH123  the name is no text
        stream.write(b"raw")
    world.step()
    (workspace / "app" / "old.py").unlink()
    (workspace / "app" / "main.py").write_text("changed")
    (workspace / ".wh.a").unlink()
    for name in ("docs/a", "docs/b", "file-then-folder"):
        (workspace / name).unlink()
    (workspace / "docs" / "c").write_text("c")
    (workspace / "file-then-folder").mkdir(mode=0o750)
    (workspace / "file-then-folder" / "x").write_text("x")
    shutil.rmtree(workspace / "dir-then-link")
    (workspace / "dir-then-link").symlink_to("app/main.py")
    world.step()
    shutil.rmtree(workspace / "app")
    world.step()
    return world


@pytest.fixture
def file(world: World, tmp_path: Path, engine: Engine) -> Iterator[Path]:
    """Return the export's file; images that a test loads from it are removed in the end."""
    target = tmp_path / "export.tar"
    export_file(world.folder, world.history.steps, _NAME, target)
    yield target
    for step in world.history.steps:
        if engine.images.inspect(f"{_NAME}:{step.tag}") is not None:
            engine.images.remove(f"{_NAME}:{step.tag}")


def _docker(*argv: str, data: bytes | None = None) -> bytes:
    return subprocess.run(["/usr/bin/docker", *argv], input=data, capture_output=True, check=True).stdout


def _exported(reference: str) -> Mapping[bytes, tuple[object, ...]]:
    """Return the workspace of an image as the engine puts its layers together."""
    container = _docker("create", "--network", "none", reference, "none").decode().strip()
    try:
        data = _docker("export", container)
    finally:
        _docker("rm", container)
    found: dict[bytes, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for member in tar:
            path = from_layer(member.name.encode("utf-8", "surrogateescape"))
            content = tar.extractfile(member) if member.isreg() or member.islnk() else None
            if not path:
                continue
            if member.issym():
                found[path] = ("link", member.linkname.encode("utf-8", "surrogateescape"))
            elif content is None:
                found[path] = ("folder", stat.S_IMODE(member.mode))
            else:
                found[path] = ("file", stat.S_IMODE(member.mode), content.read())
    return found


def test_docker_load_agrees(world: World, file: Path, engine: Engine) -> None:
    """Every step's image has the workspace of that step, under its tag, and the id that the history says."""
    _docker("load", "-i", str(file))
    for step, expected in zip(world.history.steps, world.pictures, strict=True):
        reference = f"{_NAME}:{step.tag}"
        image = engine.images.inspect(reference)
        assert image is not None
        assert image.id == f"sha256:{step.config}"
        assert _exported(reference) == {path: one[:3] if one[0] == "file" else one for path, one in expected.items()}


def test_file_is_an_image_layout(world: World, file: Path) -> None:
    """The same file is an OCI image layout, whose blobs are all what their names say."""
    import hashlib
    import json

    with tarfile.open(file) as tar:
        contents = {one.name: stream.read() for one in tar if (stream := tar.extractfile(one))}
    assert json.loads(contents["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    blobs = {name.rpartition("/")[2]: data for name, data in contents.items() if name.startswith("blobs/")}
    assert {hashlib.sha256(data).hexdigest() for data in blobs.values()} == set(blobs)
    manifests = json.loads(contents["index.json"])["manifests"]
    assert [one["annotations"]["org.opencontainers.image.ref.name"] for one in manifests] == [
        step.tag for step in world.history.steps
    ]
    for one in manifests:
        manifest = json.loads(blobs[one["digest"].removeprefix("sha256:")])
        assert {layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]} <= set(blobs)


def test_docker_load_agrees_on_branches(tmp_path: Path, engine: Engine) -> None:
    """Steps beside each other, and the one that joins them, are images with just the layers that each came from."""
    world = FakeWorld(output=tmp_path / "runs", sockets=tmp_path / "sockets")
    course = Course(world, steps_of(world.run, ("a", ()), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))))
    with course.places:
        course.play("a", *(_writing(name) for name in ("docs/a", "docs/b", "goes/x", "tool", ".wh.a")))
        course.play("c", _writing("docs/c"), lambda root: (root / "tool").chmod(0o4755))
        course.play("b", lambda root: shutil.rmtree(root / "goes"), *(_removing(f"docs/{name}") for name in "ab"))
        course.play("d", _writing("joined"), _removing(".wh.a"))
    name = f"{_NAME}-branches"
    steps = course.kept
    target = tmp_path / "export.tar"
    export_file(course.layout.history, [*steps.values()], name, target)
    try:
        _docker("load", "-i", str(target))
        for step in steps.values():
            image = engine.images.inspect(f"{name}:{step.tag}")
            assert image is not None
            assert image.id == f"sha256:{step.config}"
            assert _exported(f"{name}:{step.tag}") == like_layers(course.pictures[step.id])
    finally:
        for step in steps.values():
            if engine.images.inspect(f"{name}:{step.tag}") is not None:
                engine.images.remove(f"{name}:{step.tag}")


def _writing(name: str) -> Callable[[Path], object]:
    def edit(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)

    return edit


def _removing(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()
