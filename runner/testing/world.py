"""What the parts of the engine in memory share: its containers, volumes, cgroups and programs, and the faults it is to have."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.engine.protocol import ContainerSpec, ContainerState, NotFound
from runner.testing.box import Box, Program, perform

_KILLED = 128 + signal.SIGKILL
_NOT_FOUND_EXIT = 127


@dataclass(eq=False, kw_only=True)
class FakeContainer:
    """A container: its spec, its inside, and what the engine takes it for."""

    id: str
    spec: ContainerSpec
    box: Box
    status: str = "created"
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    unseen: bool = False
    """Whether it runs, and the engine takes it for never begun."""

    def state(self) -> ContainerState:
        return ContainerState(
            id=self.id,
            name=self.spec.name,
            status=self.status,
            exit_code=self.exit_code,
            oom_killed=self.box.oom_killed,
            error="",
            started_at=self.started_at,
            finished_at=self.finished_at,
            labels=dict(self.spec.labels),
            image=self.spec.image,
        )

    def finish(self, code: int) -> None:
        """Note the end; the first one counts."""
        with self.box.changed:
            if self.status != "exited" and not self.unseen:
                self.status, self.exit_code, self.finished_at = "exited", code, time.time()
            self.box.changed.notify_all()

    def lose(self) -> None:
        """Have the engine know nothing of its start."""
        with self.box.changed:
            self.unseen, self.status, self.started_at = True, "created", None

    def ended(self, timeout: float | None) -> bool:
        with self.box.changed:
            return self.box.changed.wait_for(lambda: self.status == "exited", timeout)


@dataclass(eq=False, kw_only=True)
class World:
    """What the parts of a fake engine share."""

    containers: dict[str, FakeContainer] = field(default_factory=dict)
    volumes: dict[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    parents: dict[str, Box] = field(default_factory=dict)
    programs: list[tuple[str | None, tuple[str, ...], Program]] = field(default_factory=list)
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fault(self, call: str) -> None:
        """Note a call, and raise what was ordered for it."""
        with self.lock:
            self.calls.append(call)
            waiting = self.faults.get(call)
            if waiting:
                raise waiting.pop(0)

    def get(self, container: str) -> FakeContainer:
        with self.lock:
            for one in self.containers.values():
                if container in {one.id, one.spec.name}:
                    return one
        raise NotFound(f"No such container: {container}")

    def program(self, spec: ContainerSpec) -> Program:
        """Return the program for a container: the latest registered one that fits."""
        for image, argv, program in reversed(self.programs):
            if image in {None, spec.image} and spec.argv[len(spec.argv) - len(argv) :] == argv:
                return program
        return _no_such_program


def live(one: FakeContainer, program: Program) -> None:
    """Run a container's program; one that raises is a mistake in a test, and ends its container all the same."""
    code = 255
    try:
        code = perform(program, one.box)
    finally:
        one.finish(code)


def kill(one: FakeContainer) -> None:
    """End a container's program where it next uses its box; the container has exited at once."""
    one.box.signal(signal.SIGKILL)
    one.finish(_KILLED)


def _no_such_program(box: Box) -> int:
    box.write(f"{' '.join(box.spec.argv)}: no such program is registered\n".encode(), "stderr")
    return _NOT_FOUND_EXIT
