"""An engine in memory: containers are Python functions, in threads; everything else is book-keeping."""

from __future__ import annotations

import difflib
import hashlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

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
from runner.testing.box import Box, Program
from runner.testing.images import FakeImages, carries
from runner.testing.info import INFO
from runner.testing.world import FakeContainer, World, kill, live

CALLS = (
    *("create", "start", "wait", "stop", "remove", "inspect", "find", "logs", "usage", "release", "info"),
    *("volumes.create", "volumes.remove", "volumes.find"),
    *("images.inspect", "images.find", "images.build", "images.transfer", "images.remove"),
)
"""Calls that can be made to fail."""


class FakeEngine:
    """Engine in memory; see `runner.engine.protocol.Engine`. Deterministic but for the times of day.

    Args:
        info: how the engine describes itself; by default Docker 20.10 with cgroup v1 and four cores.
    """

    def __init__(self, info: EngineInfo = INFO) -> None:
        self._info = info
        self._world = World()
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
            kill(one)

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
        kill(self._world.get(container))

    def half_remove(self, container: str) -> None:
        """Have a removal of an exited container end half-way, as by the engine's own end."""
        self._world.get(container).status = "dead"

    def box(self, container: str) -> Box:
        """Return a container from inside."""
        return self._world.get(container).box

    def lose_sight(self, container: str) -> None:
        """Have the engine take a running container for never begun, as one does that was killed while it started it."""
        self._world.get(container).lose()

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
    def __init__(self, world: World) -> None:
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
            self._world.containers[identity] = FakeContainer(id=identity, spec=spec, box=Box(spec, devices))
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
        threading.Thread(target=live, args=(one, program), name=one.spec.name, daemon=True).start()

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
        if one.unseen:
            one.box.signal(signal.SIGKILL)
        if one.status != "running":
            return
        one.box.signal(signal.SIGTERM)
        if not one.ended(grace):
            kill(one)

    def remove(self, container: str) -> None:
        self._world.fault("remove")
        try:
            one = self._world.get(container)
        except NotFound:
            return
        if one.status == "running":
            kill(one)
        with self._world.lock:
            self._world.containers.pop(one.id, None)


class _Observer:
    def __init__(self, world: World) -> None:
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
        if one.status == "dead":
            raise EngineError("can not get logs from container which is dead or marked for removal")
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
    def __init__(self, world: World) -> None:
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
