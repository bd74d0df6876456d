"""Where checks of an engine are made: it runs deeds, and cleans up after them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.engine import owner
from runner.engine.cgroup import parent_name
from runner.engine.protocol import ContainerSpec, ContainerState, Engine, Resources
from runner.names import LABEL_CGROUP, LABEL_KIND
from runner.testing.deeds import DEEDS, MIB

LABEL = "org.codegen-runner.conformance"
PATIENCE = 60.0
"""Seconds any container of the suite may take, on a busy machine."""
LIMITS = Resources(cpus=1.0, memory=512 * MIB, swap=0, pids=64, tmp=MIB, shm=MIB, log=8 * MIB)


@dataclass(kw_only=True)
class Lab:
    """An engine under examination, and what a check made in it."""

    engine: Engine
    image: str
    """Id of an image with `sh`, coreutils and `python3`."""
    folder: Path
    """Empty folder on the engine's host."""
    user: str
    """`uid:gid` that may write into `folder`."""
    made: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    tag: str = field(default_factory=lambda: secrets.token_hex(4))

    def spec(self, deed: str) -> ContainerSpec:
        """Return a container that performs a deed, in a parent cgroup where there can be one.

        Its labels say whose it is and which cgroup it needs: a runner that starts meanwhile takes neither for a
        leftover.
        """
        name = f"cgr-conformance-{self.tag}-{len(self.made):02d}"
        parent = parent_name(self.engine.info(), name)
        return ContainerSpec(
            name=name,
            image=self.image,
            argv=DEEDS[deed].argv,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "RUNNER_GIVEN": "a b=c"},
            user=self.user,
            workdir="/",
            mounts=(),
            resources=LIMITS,
            labels={
                **owner.current().labels(),
                LABEL_KIND: "conformance",
                LABEL: self.tag,
                f"{LABEL}.deed": deed,
                **({LABEL_CGROUP: parent} if parent else {}),
            },
            cgroup_parent=parent,
        )

    def start(self, deed: str, **changes: object) -> str:
        """Create and start a container that performs a deed; return its id."""
        spec = replace(self.spec(deed), **changes)  # type: ignore[arg-type]  # fields of the spec
        container = self.create(spec)
        self.engine.containers.start(container)
        return container

    def create(self, spec: ContainerSpec) -> str:
        container = self.engine.containers.create(spec)
        self.made.append(container)
        self.parents += [spec.cgroup_parent] if spec.cgroup_parent else []
        return container

    def finish(self, container: str) -> ContainerState:
        """Wait for the end of a container."""
        state = self.engine.containers.wait(container, PATIENCE)
        if state is None:
            raise AssertionError(f"container {container[:12]} did not end within {PATIENCE:g} s")
        return state

    def perform(self, deed: str, **changes: object) -> tuple[ContainerState, dict[str, bytes]]:
        """Carry a deed out to its end; return the final state and what was written."""
        container = self.start(deed, **changes)
        return self.finish(container), self.output(container)

    def output(self, container: str) -> dict[str, bytes]:
        """Return what a container wrote, by stream."""
        written = {"stdout": b"", "stderr": b""}
        for stream, chunk in self.engine.observer.logs(container):
            written[stream] += chunk
        return written

    def until_ready(self, container: str) -> None:
        """Follow a container's output until it has said that it is ready."""
        for _, chunk in self.engine.observer.logs(container, follow=True):
            if b"ready" in chunk:
                return
        raise AssertionError(f"container {container[:12]} ended before it was ready")


@contextmanager
def laboratory(engine: Engine, image: str, folder: Path, user: str) -> Iterator[Lab]:
    """Lend a lab, and remove whatever a check leaves in it."""
    lab = Lab(engine=engine, image=image, folder=folder, user=user)
    try:
        yield lab
    finally:
        for container in lab.made:
            engine.containers.remove(container)
        engine.observer.release(lab.parents)


def expect(seen: object, wanted: object, what: str) -> None:
    """Raise AssertionError unless what was seen is what is wanted."""
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r} instead of {wanted!r}")
