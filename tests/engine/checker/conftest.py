"""The checker image, and what judges a small application in it as a run's check is judged."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.images import ROOT, project_image

from runner.engine.docker import connect
from runner.engine.protocol import ContainerSpec, Engine, Mount, Resources
from runner.names import LABEL_KIND, PROJECT

APPLICATIONS = ROOT / "tests" / "projects" / "applications"
Judged = dict[str, Any]
Judge = Callable[..., Judged]
_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Connect to the engine of this machine."""
    with connect(os.environ) as connected:
        yield connected


@pytest.fixture(scope="module")
def checker(engine: Engine) -> str:
    """Id of the checker image, made from the user's cache if the engine does not have it."""
    return project_image(engine, "checker")


@pytest.fixture
def judge(engine: Engine, checker: str, tmp_path: Path) -> Judge:
    """Return what judges a copy of an application, with pieces of its text replaced, in a container of its own."""

    def judged(application: str | Path, check: dict[str, Any], *changes: tuple[str, str, str]) -> Judged:
        place = tmp_path / uuid.uuid4().hex
        workspace = place / "workspace"
        shutil.copytree(APPLICATIONS / application, workspace)
        for file, old, new in changes:
            text = (workspace / file).read_text()
            assert old in text, f"{file} has no {old!r}: the fault would not be planted"
            (workspace / file).write_text(text.replace(old, new))
        for folder in ("in", "out"):
            (place / folder).mkdir()
        (place / "in" / "check.json").write_text(json.dumps({"format": 1, "seed": 11, **check}))
        said = _run(engine, checker, place)
        written = place / "out" / "checks.json"
        assert written.is_file(), f"there is no verdict: {said}"
        verdict: Judged = json.loads(written.read_text())
        return verdict

    return judged


def _run(engine: Engine, image: str, place: Path) -> str:
    """Run the judge as the runner does, and return what it printed."""
    spec = ContainerSpec(
        name=f"{PROJECT}-test-checker-{place.name}",
        image=image,
        argv=("python3", "-I", "/opt/framework/check.py", "/in/check.json", "/out/checks.json"),
        env={"HOME": "/tmp", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "11"},
        user=f"{os.getuid()}:{os.getgid()}",
        workdir="/workspace",
        mounts=(
            Mount(source=str(place / "workspace"), target="/workspace"),
            Mount(source=str(place / "in"), target="/in", read_only=True),
            Mount(source=str(place / "out"), target="/out"),
        ),
        resources=Resources(cpus=1.0, memory=1024 * _MIB, swap=0, pids=256, tmp=128 * _MIB, shm=64 * _MIB, log=_MIB),
        labels={LABEL_KIND: "helper"},
    )
    container = engine.containers.create(spec)
    try:
        engine.containers.start(container)
        state = engine.containers.wait(container, 240)
        printed = b"".join(chunk for _, chunk in engine.observer.logs(container)).decode("utf-8", "replace")
        return f"{state} {printed[-2000:]}"
    finally:
        engine.containers.remove(container)
