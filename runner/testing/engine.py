"""An engine in memory: containers are Python functions, in threads; everything else is book-keeping."""

from __future__ import annotations

import difflib
import hashlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from runner.engine.cgroup import unmeasured
from runner.engine.protocol import (
    Containers,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    Images,
    NotFound,
    Observer,
    Usage,
    Volumes,
)
from runner.errors import EngineError
from runner.testing.box import Box, Program, perform
from runner.testing.images import FakeImages, carries
from runner.testing.info import INFO

CALLS = (
    *("create", "start", "wait", "stop", "remove", "inspect", "find", "logs", "usage", "release", "info"),
    *("volumes.create", "volumes.remove", "volumes.find"),
    *("images.inspect", "images.find", "images.build", "images.transfer", "images.remove"),
)
"""Calls that can be made to fail."""

_KILLED = 128 + signal.SIGKILL
_NOT_FOUND_EXIT = 127


@dataclass(eq=False, kw_only=True)
class _Container:
    id: str
    spec: ContainerSpec
    box: Box
    status: str = "created"
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None

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
            if self.status != "exited":
                self.status, self.exit_code, self.finished_at = "exited", code, time.time()
            self.box.changed.notify_all()

    def ended(self, timeout: float | None) -> bool:
        with self.box.changed:
            return self.box.changed.wait_for(lambda: self.status == "exited", timeout)


@dataclass(eq=False, kw_only=True)
class _World:
    """What the parts of a fake engine share."""

    containers: dict[str, _Container] = field(default_factory=dict)
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

    def get(self, container: str) -> _Container:
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


class FakeEngine:
    """Engine in memory; see `runner.engine.protocol.Engine`. Deterministic but for the times of day.

    Args:
        info: how the engine describes itself; by default Docker 20.10 with cgroup v1 and four cores.
    """

    def __init__(self, info: EngineInfo = INFO) -> None:
        self._info = info
        self._world = _World()
        self._images = FakeImages(self._world.fault, self._in_use)
        self._lives = 1
        self.away = ""
        """Why it does not answer; only `absence` tells, the calls themselves fail by `fail_next`."""
        self.containers: Containers = _Containers(self._world)
        self.observer: Observer = _Observer(self._world)
        self.volumes: Volumes = _Volumes(self._world)
        self.images: Images = self._images

    def info(self) -> EngineInfo:
        self._world.fault("info")
        return self._info

    def absence(self) -> str:
        return self.away

    def incarnation(self) -> str:
        return str(self._lives)

    def restart(self) -> None:
        """End as an engine does, with every container that runs, and be there again at once."""
        self._lives += 1
        with self._world.lock:
            running = [one for one in self._world.containers.values() if one.status == "running"]
        for one in running:
            _kill(one)

    def register(self, program: Program, *, image: str | None = None, argv: tuple[str, ...] = ()) -> None:
        """Have containers run `program`; of several that fit, the latest registered does.

        Args:
            program: what runs.
            image: image id; None fits any.
            argv: last words of the command line, so that what stands before them (the entry shim) need not be known.
        """
        self._world.programs.append((image, argv, program))

    def add_image(self, tag: str, labels: Mapping[str, str] | None = None, *, content: bytes = b"") -> str:
        """Put an image into the engine; return its id, which depends on tag, labels and content only."""
        return self._images.add(tag, labels, content=content)

    def kill(self, container: str) -> None:
        """Kill a running container from outside, as `docker kill` does."""
        _kill(self._world.get(container))

    def fail_next(self, call: str, error: Exception, times: int = 1) -> None:
        """Make the next `times` calls of a kind fail, before they do anything.

        Raises:
            ValueError: for a call that does not exist.
        """
        if call not in CALLS:
            near = difflib.get_close_matches(call, CALLS, n=1)
            raise ValueError(f"no call {call!r}; nearest: {near or 'none'}; there are {', '.join(CALLS)}")
        self._world.faults.setdefault(call, []).extend([error] * times)

    @property
    def calls(self) -> list[str]:
        """Names of the calls made so far."""
        return list(self._world.calls)

    @property
    def cgroup_parents(self) -> list[str]:
        """Parent cgroups that have not been released."""
        return sorted(self._world.parents)

    @property
    def specs(self) -> list[ContainerSpec]:
        """Specs of the containers that exist."""
        return [one.spec for one in self._world.containers.values()]

    def _in_use(self, image: str) -> bool:
        return any(one.spec.image == image for one in self._world.containers.values())


class _Containers:
    def __init__(self, world: _World) -> None:
        self._world = world
        self._made = 0

    def create(self, spec: ContainerSpec) -> str:
        self._world.fault("create")
        with self._world.lock:
            if any(one.spec.name == spec.name for one in self._world.containers.values()):
                raise EngineError(f"a container named {spec.name} exists already")
            missing = [m.source for m in spec.mounts if m.volume and m.source not in self._world.volumes]
            if missing:
                raise EngineError(f"no volume named {missing[0]}")
            self._made += 1
            identity = hashlib.sha256(f"{spec.name} {self._made}".encode()).hexdigest()
            devices = {name: device for name, (device, _) in self._world.volumes.items()}
            self._world.containers[identity] = _Container(id=identity, spec=spec, box=Box(spec, devices))
        return identity

    def start(self, container: str) -> None:
        self._world.fault("start")
        one = self._world.get(container)
        with one.box.changed:
            if one.status == "running":
                return
            one.status, one.started_at = "running", time.time()
        if one.spec.cgroup_parent:
            self._world.parents[one.spec.cgroup_parent] = one.box
        program = self._world.program(one.spec)
        threading.Thread(target=_main, args=(one, program), name=one.spec.name, daemon=True).start()

    def wait(self, container: str, timeout: float | None = None) -> ContainerState | None:
        self._world.fault("wait")
        one = self._world.get(container)
        if one.status != "created" and not one.ended(timeout):
            return None
        return one.state()

    def stop(self, container: str, grace: float) -> None:
        self._world.fault("stop")
        try:
            one = self._world.get(container)
        except NotFound:
            return
        if one.status != "running":
            return
        one.box.signal(signal.SIGTERM)
        if not one.ended(grace):
            _kill(one)

    def remove(self, container: str) -> None:
        self._world.fault("remove")
        try:
            one = self._world.get(container)
        except NotFound:
            return
        if one.status == "running":
            _kill(one)
        with self._world.lock:
            self._world.containers.pop(one.id, None)


class _Observer:
    def __init__(self, world: _World) -> None:
        self._world = world

    def inspect(self, container: str) -> ContainerState:
        self._world.fault("inspect")
        return self._world.get(container).state()

    def find(self, labels: Mapping[str, str | None]) -> list[ContainerState]:
        self._world.fault("find")
        with self._world.lock:
            found = [one.state() for one in self._world.containers.values() if carries(one.spec.labels, labels)]
        return sorted(found, key=lambda state: state.name)

    def logs(self, container: str, *, follow: bool = False) -> Iterator[tuple[str, bytes]]:
        self._world.fault("logs")
        try:
            one = self._world.get(container)
        except NotFound:
            if follow:
                return
            raise
        seen = 0
        while True:
            with one.box.changed:
                while follow and len(one.box.output) == seen and one.status != "exited":
                    one.box.changed.wait()
                fresh, over = one.box.output[seen:], one.status == "exited" or not follow
            yield from (piece for piece in fresh if piece[1])
            seen += len(fresh)
            if over and not fresh:
                return

    def usage(self, container: str, cgroup_parent: str | None) -> Usage:
        self._world.fault("usage")
        box = self._world.parents.get(cgroup_parent or "")
        if box is None:
            return unmeasured(f"container {container[:12]} had no parent cgroup of its own")
        exact = {"cpu_seconds": "cgroup", "peak_memory_bytes": "cgroup"}
        no_io = dict.fromkeys(("io_read_bytes", "io_write_bytes", "oom_kills"), "the fake engine does not count it")
        return Usage(cpu_seconds=box.cpu_seconds, peak_memory_bytes=box.peak_memory, sources=exact, reasons=no_io)

    def release(self, cgroup_parents: Iterable[str]) -> None:
        self._world.fault("release")
        for parent in cgroup_parents:
            self._world.parents.pop(parent, None)


class _Volumes:
    def __init__(self, world: _World) -> None:
        self._world = world

    def create(self, name: str, *, device: str, labels: Mapping[str, str]) -> None:
        self._world.fault("volumes.create")
        with self._world.lock:
            other, _ = self._world.volumes.setdefault(name, (device, dict(labels)))
        if other != device:
            raise EngineError(f"a volume named {name} exists already over {other}, not over {device}")

    def remove(self, name: str) -> None:
        self._world.fault("volumes.remove")
        with self._world.lock:
            if any(
                mount.volume and mount.source == name
                for one in self._world.containers.values()
                for mount in one.spec.mounts
            ):
                raise EngineError(f"volume {name} is in use")
            self._world.volumes.pop(name, None)

    def find(self, labels: Mapping[str, str | None]) -> list[tuple[str, Mapping[str, str]]]:
        self._world.fault("volumes.find")
        return sorted((name, own) for name, (_, own) in self._world.volumes.items() if carries(own, labels))


def _main(one: _Container, program: Program) -> None:
    """Run a container's program; one that raises is a mistake in a test, and ends its container all the same."""
    code = 255
    try:
        code = perform(program, one.box)
    finally:
        one.finish(code)


def _kill(one: _Container) -> None:
    one.box.signal(signal.SIGKILL)
    one.finish(_KILLED)


def _no_such_program(box: Box) -> int:
    box.write(f"{' '.join(box.spec.argv)}: no such program is registered\n".encode(), "stderr")
    return _NOT_FOUND_EXIT
