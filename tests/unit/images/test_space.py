"""A build for which there is no room is refused before it begins, with what it would take."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.images import Project

from runner.engine.admission import Space
from runner.errors import StorageError
from runner.images import lockfile, records, space
from runner.images.usage import image_rooms
from runner.testing import FakeEngine

GIB = 1024**3


def _lock(size: int) -> lockfile.Lock:
    artifact = lockfile.Artifact.model_construct(
        kind="wheel", name="x", version="1", file="x.whl", size=size, sha256="0"
    )
    return lockfile.Lock.model_construct(
        version=1, date="2026-01-01", platform="linux/amd64", python="3.11", inputs={}, artifacts=(artifact,)
    )


def _record(project: Project, name: str, size: int | None, built_at: str, *, image: str = "", base: str = "") -> None:
    records.write(
        project.ctx.cache,
        records.ImageRecord(
            name=name,
            tag=f"codegen-runner/{name}:{built_at[-3:-1]}",
            id=image,
            inputs=f"{name}-{built_at}",
            lock_sha256="0" * 64,
            lock_date="2026-01-01T00:00:00Z",
            artifacts=0,
            artifacts_bytes=0,
            base=base,
            size=size,
            built_at=built_at,
            engine_version="20.10",
            log=None,
            smoke_test="",
        ),
    )


def _free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    def measure(path: Path) -> Space:
        return Space(path=path, free=free, total=100 * GIB, margin=2 * GIB)

    monkeypatch.setattr(space, "measure_space", measure)


def test_the_last_image_says_what_the_next_takes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times its size is needed while it is built, beside what must stay free; of several the latest counts."""
    _record(project, "local", 9 * GIB, "2026-01-01T00:00:00Z")
    _record(project, "local", GIB, "2026-01-02T00:00:00Z")
    _record(project, "other", 50 * GIB, "2026-01-03T00:00:00Z")
    assert space.expected_size(project.ctx, "local", _lock(5))[0] == GIB
    _free(monkeypatch, 6 * GIB)
    space.require_build_space(project.ctx, "local", _lock(5))
    _free(monkeypatch, 6 * GIB - 1)
    with pytest.raises(
        StorageError, match=r"too little room to build local: 6,144 MiB free at .*, about 4,096 MiB needed"
    ):
        space.require_build_space(project.ctx, "local", _lock(5))


def test_a_first_build_goes_by_its_lock(project: Project) -> None:
    """Nobody knows its size; the artifacts it names say something, and the message says that it is a guess."""
    size, why = space.expected_size(project.ctx, "local", _lock(100))
    assert (size, why) == (400, "4 times what its lock names")


def test_what_images_share_counts_once(project: Project) -> None:
    """A base counts once, however many images stand on it; one whose base is gone counts whole."""
    engine = project.ctx.engine
    assert isinstance(engine, FakeEngine)
    ids = {
        name: engine.add_image(f"codegen-runner/{name}:{second}", content=b"x" * room)
        for name, second, room in (("base", "01", 100), ("one", "02", 150), ("two", "03", 170))
    }
    _record(project, "base", None, "2026-01-01T00:00:01Z", image=ids["base"], base="bootstrapped")
    _record(project, "one", None, "2026-01-01T00:00:02Z", image=ids["one"], base=ids["base"])
    _record(project, "two", None, "2026-01-01T00:00:03Z", image=ids["two"], base="sha256:gone")
    rooms = {one.tag: one.bytes for one in image_rooms(project.ctx)}
    assert rooms == {"codegen-runner/two:03": 170, "codegen-runner/base:01": 100, "codegen-runner/one:02": 50}
