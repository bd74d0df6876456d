"""Whether there is room: free disk before a run starts, cores and memory for runs side by side."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.engine.gpus import read_gpus
from runner.engine.protocol import ContainerState, EngineInfo
from runner.errors import StorageError
from runner.names import LABEL_CPUS, LABEL_MEMORY
from runner.spec.models import Limits

_GIB = 1024**3
_LEAST_FREE = _GIB
_LEAST_SHARE = 0.02
_USABLE_MEMORY = 0.8
"""Share of the machine's memory for steps; the rest is for the engine, the runner and everybody else."""
_SLACK = 1e-9
"""Sums of fractions of a core come out a little off."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Room on the file system of a path, in bytes."""

    path: Path
    """The nearest folder that exists."""
    free: int
    """What an ordinary user may still write."""
    total: int
    margin: int
    """What must stay free: 1 GiB, or 2 % of the file system if that is more."""

    @property
    def enough(self) -> bool:
        return self.free >= self.margin


@dataclass(frozen=True, kw_only=True)
class Room:
    """Cores and bytes of memory, of a machine or of a container's limits."""

    cpus: float
    memory: int
    gpus: frozenset[str] = frozenset()
    """Ids of devices that somebody has for himself."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Whether one more container may start, and why not."""

    admitted: bool
    reason: str = ""


def measure_space(path: Path) -> Space:
    """Measure the file system that holds, or would hold, a path.

    Raises:
        OSError: if not even the root can be asked.
    """
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    stat = os.statvfs(existing)
    total = stat.f_blocks * stat.f_frsize
    margin = max(_LEAST_FREE, int(total * _LEAST_SHARE))
    return Space(path=existing, free=stat.f_bavail * stat.f_frsize, total=total, margin=margin)


def require_space(path: Path) -> None:
    """Refuse to go on when the disk is nearly full.

    Raises:
        StorageError: if less is free than the margin.
    """
    check_space(measure_space(path))


def check_space(space: Space) -> None:
    """Raise StorageError if less is free than the margin."""
    if not space.enough:
        raise StorageError(
            f"the disk is nearly full: {_gib(space.free)} free of {_gib(space.total)} at {space.path}",
            why=f"{_gib(space.margin)} must stay free, so that evidence can always be written",
            hint="free some space (`runner clean` shows what is ours), or choose another folder with `--output`",
        )


def default_jobs(info: EngineInfo, limits: Iterable[Limits]) -> int:
    """Return how many runs go side by side if the user does not say: as many as the machine holds at their limits.

    Args:
        info: the engine, whose machine counts.
        limits: limits of every planned step; the largest decide.
    """
    cpus, memory = 0.0, 0
    for one in limits:
        cpus, memory = max(cpus, one.cpus), max(memory, one.memory)
    by_cpus = int(info.cpus / cpus + _SLACK) if cpus else info.cpus
    by_memory = int(info.memory * _USABLE_MEMORY) // memory if memory else by_cpus
    return max(1, min(by_cpus, by_memory))


def capacity(info: EngineInfo) -> Room:
    """Return what steps may reserve together on the engine's machine."""
    return Room(cpus=float(info.cpus), memory=int(info.memory * _USABLE_MEMORY))


def reserved(states: Iterable[ContainerState]) -> Room:
    """Add up what running containers reserve in their labels, whoever's they are.

    Labels that cannot be read reserve nothing.
    """
    rooms = [_room(state.labels) for state in states if state.status == "running"]
    return Room(
        cpus=sum(room.cpus for room in rooms),
        memory=sum(room.memory for room in rooms),
        gpus=frozenset().union(*(room.gpus for room in rooms)),
    )


def admit(wanted: Room, taken: Room, host: Room) -> Admission:
    """Say whether one more container fits beside what is reserved; an idle machine takes any one.

    Args:
        wanted: limits of the container to start.
        taken: what running containers reserve.
        host: what may be reserved in all.
    """
    if not (taken.cpus or taken.memory):
        return Admission(admitted=True)
    if taken.cpus + wanted.cpus > host.cpus + _SLACK:
        return Admission(
            admitted=False,
            reason=f"{wanted.cpus:g} cores wanted, {taken.cpus:g} of {host.cpus:g} are reserved",
        )
    if taken.memory + wanted.memory > host.memory:
        return Admission(
            admitted=False,
            reason=f"{_gib(wanted.memory)} of memory wanted, {_gib(taken.memory)} of {_gib(host.memory)} are reserved",
        )
    return Admission(admitted=True)


def available_memory() -> int | None:
    """Return MemAvailable of proc_meminfo(5), bytes; None if the kernel does not say."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    except (OSError, ValueError, IndexError):
        return None


def load_per_core(cpus: int) -> float | None:
    """Return how many processes run or want to, over the last minute, per core; None if the kernel does not say."""
    try:
        return os.getloadavg()[0] / max(cpus, 1)
    except OSError:
        return None


def _room(labels: Mapping[str, str]) -> Room:
    try:
        cpus, memory = float(labels.get(LABEL_CPUS, "0")), int(labels.get(LABEL_MEMORY, "0"))
    except ValueError:
        cpus, memory = 0.0, 0
    return Room(cpus=cpus, memory=memory, gpus=frozenset(read_gpus(labels)))


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
