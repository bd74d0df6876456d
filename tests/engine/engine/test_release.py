"""Removing the parent cgroups of finished attempts where the user may not do it himself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.engine.cgroup import CGROUP_ROOT, find_parents, find_stale_parents, parent_name, read_usage
from runner.engine.docker import connect
from runner.engine.owner import current
from runner.engine.protocol import Engine
from runner.errors import EngineError
from runner.names import LABEL_KIND
from runner.testing.lab import laboratory

pytestmark = pytest.mark.engine
_NOBODY = 65534


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Give up root's rights for a while, keeping the connection that is open."""
    if os.geteuid() != 0:
        yield
        return
    group = os.getegid()
    os.setegid(Path("/var/run/docker.sock").stat().st_gid)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


@pytest.fixture
def parents(engine: Engine, engine_image: str, tmp_path: Path) -> Iterator[list[str]]:
    """Parent cgroups of two containers that have ended, and are there so that no other runner removes the cgroups."""
    with laboratory(engine, engine_image, tmp_path, "1000:1000") as lab:
        for _ in range(2):
            lab.perform("nothing")
        if not lab.parents:
            pytest.skip("this engine's cgroups cannot be read from here")
        yield lab.parents


def test_a_helper_removes_what_we_may_not(engine_image: str, parents: list[str]) -> None:
    """Without root's rights a helper container removes the cgroups, and nothing of the helper is left."""
    end = time.monotonic() + 60  # what has ended may take a moment to leave its cgroup
    while not set(parents) <= set(find_stale_parents()) and time.monotonic() < end:
        time.sleep(0.05)
    assert set(parents) <= set(find_stale_parents())
    with connect(os.environ, helper_image=engine_image) as engine:
        engine.info()
        with _as_nobody():
            engine.observer.release(parents)
        assert engine.observer.find({**current().labels(), LABEL_KIND: "helper"}) == []
    assert not set(parents) & set(find_parents(CGROUP_ROOT))


def test_what_runs_stays(engine: Engine, engine_image: str, tmp_path: Path) -> None:
    """The cgroup of a running container is not stale, and cannot be released."""
    with laboratory(engine, engine_image, tmp_path, "1000:1000") as lab:
        container = lab.start("sleep")
        if not lab.parents:
            pytest.skip("this engine's cgroups cannot be read from here")
        assert lab.parents[0] not in find_stale_parents()
        with pytest.raises(EngineError, match="1 cgroups of finished attempts could not be removed"):
            engine.observer.release(lab.parents)
        assert engine.observer.inspect(container).status == "running"


def test_use_grows_while_it_runs(engine: Engine, engine_image: str, tmp_path: Path) -> None:
    """A parent cgroup can be read while its container runs, and belongs to that container alone."""
    with laboratory(engine, engine_image, tmp_path, "1000:1000") as lab:
        container = lab.start("sleep")
        other = parent_name(engine.info(), "another")
        if not lab.parents or other is None:
            pytest.skip("this engine's cgroups cannot be read from here")
        usage = engine.observer.usage(container, lab.parents[0])
        assert usage.peak_memory_bytes
        assert read_usage(CGROUP_ROOT, engine.info().cgroup_version, other).peak_memory_bytes is None


def test_what_the_engine_does_not_know_to_run_is_ended(engine: Engine, engine_image: str, tmp_path: Path) -> None:
    """A process in the cgroup of a container that never began for the engine is ended when the container is stopped."""
    with laboratory(engine, engine_image, tmp_path, "1000:1000") as lab:
        container = lab.create(lab.spec("sleep"))
        if not lab.parents or os.geteuid() != 0:
            pytest.skip("this engine's cgroups cannot be written to from here")
        version = engine.info().cgroup_version
        folder = (CGROUP_ROOT if version > 1 else CGROUP_ROOT / "memory") / lab.parents[0].lstrip("/") / "unseen"
        folder.mkdir(parents=True)
        with subprocess.Popen(["sleep", "600"]) as unseen:
            try:
                (folder / "cgroup.procs").write_text(f"{unseen.pid}\n", encoding="ascii")
                engine.containers.stop(container, 0)
                assert unseen.wait(60) == -signal.SIGKILL
            finally:
                unseen.kill()
        assert engine.observer.inspect(container).status == "created"
