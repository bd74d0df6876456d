"""Steps under the entry shim in real containers."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.images import base_image

from runner.engine.docker import connect
from runner.engine.protocol import ContainerSpec, ContainerState, Engine, Mount, Resources
from runner.names import GATEWAY_DIR, LABEL_KIND, OUT_DIR, SHIM

LOCAL = Path(__file__).parents[3] / "images/base/rootfs/usr/local"
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a container came to."""

    state: ContainerState
    stdout: str
    stderr: str
    report: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Starts steps and waits for them; what it made is removed when the test is over."""

    engine: Engine
    image: str
    out: Path
    made: list[str]

    def start(
        self,
        *command: str,
        options: Sequence[str] = (),
        user: int | None = None,
        gateway: Path | None = None,
        read_only_out: bool = False,
    ) -> str:
        """Start a command as a step, in the container that steps get, and return the container's id."""
        uid = os.getuid() if user is None else user
        if os.getuid() == 0:
            os.chown(self.out, uid, uid)
        mounts = [
            Mount(source=str(LOCAL), target="/usr/local", read_only=True),
            Mount(source=str(self.out), target=OUT_DIR, read_only=read_only_out),
        ]
        if gateway is not None:
            mounts.append(Mount(source=str(gateway), target=GATEWAY_DIR, read_only=True))
        resources = Resources(cpus=1.0, memory=256 * MIB, swap=0, pids=64, tmp=MIB, shm=MIB, log=MIB)
        container = self.engine.containers.create(
            ContainerSpec(
                name=f"cgr-test-shim-{secrets.token_hex(4)}",
                image=self.image,
                argv=(SHIM, *(options or ("--deadline=100", "--grace=1", "--log-limit=65536")), "--", *command),
                env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
                user=f"{uid}:{uid}",
                workdir="/tmp",
                mounts=tuple(mounts),
                resources=resources,
                labels={LABEL_KIND: "test"},
            )
        )
        self.made.append(container)
        self.engine.containers.start(container)
        return container

    def finish(self, container: str, seconds: float = 200) -> Ended:
        """Wait for a container and return what it left."""
        state = self.engine.containers.wait(container, seconds)
        assert state is not None, f"the container did not end within {seconds} s"
        text = {"stdout": b"", "stderr": b""}
        for stream, chunk in self.engine.observer.logs(container):
            text[stream] += chunk
        report = self.out / ".shim.json"
        return Ended(
            state=state,
            stdout=text["stdout"].decode(),
            stderr=text["stderr"].decode(),
            report=json.loads(report.read_text()) if report.exists() else {},
        )

    def run(self, *command: str, **how: Any) -> Ended:
        """Start a command and wait for it."""
        return self.finish(self.start(*command, **how))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Connect to the engine of this machine."""
    with connect(os.environ) as connected:
        yield connected


@pytest.fixture
def containers(engine: Engine, tmp_path: Path) -> Iterator[Containers]:
    """Return what starts steps."""
    out = tmp_path / "out"
    out.mkdir()
    started = Containers(engine=engine, image=base_image(engine), out=out, made=[])
    yield started
    for container in started.made:
        engine.containers.remove(container)


@pytest.fixture
def python() -> Callable[[str], tuple[str, ...]]:
    """Return what makes a command of Python code."""
    return lambda code: ("python3", "-c", code)
