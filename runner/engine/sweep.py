"""What earlier runners left in the engine: whose it is, and removing what is nobody's any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runner.engine.owner import Owner, from_labels, is_alive
from runner.engine.protocol import ContainerState, Engine, NotFound
from runner.errors import EngineError, RunnerError
from runner.names import LABEL_CGROUP, LABEL_KIND, LABEL_RUN_DIR

_GRACE = 5.0
"""Seconds between the polite signal and the kill for a container whose runner is dead."""

Standing = Literal["mine", "live", "dead", "foreign", "unknown"]
"""mine: this process's; live: another runner of this user; dead: a runner of this user that has ended; foreign: another
user's; unknown: our kind, but its labels do not tell whose."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One container or volume that carries our labels."""

    kind: Literal["container", "volume"]
    name: str
    standing: Standing
    labels: Mapping[str, str] = field(default_factory=dict)
    state: ContainerState | None = None
    """State of a container; None for a volume."""

    @property
    def owner(self) -> Owner | None:
        return from_labels(self.labels)

    @property
    def running(self) -> bool:
        return self.state is not None and self.state.status in {"running", "paused", "restarting"}


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Everything of our kind in the engine, containers first, by name."""

    found: tuple[Found, ...]

    def of(self, *standings: Standing) -> tuple[Found, ...]:
        """Return what has one of these standings."""
        return tuple(one for one in self.found if one.standing in standings)


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a sweep did."""

    containers: tuple[str, ...] = ()
    """Names of containers removed, their evidence kept before."""
    volumes: tuple[str, ...] = ()
    """Names of volumes removed; the folders below them stay."""
    kept: tuple[tuple[str, str], ...] = ()
    """Names of what should have gone but stays, and why."""
    left_alone: tuple[Found, ...] = ()
    """What is somebody's: live runners', other users', and what does not tell."""
    spared: tuple[Found, ...] = ()
    """What dead runners left and a later one will take up."""


def survey(
    engine: Engine, me: Owner, output: Path | None = None, *, alive: Callable[[Owner], bool] = is_alive
) -> Survey:
    """Find every container and volume that carries our labels, and say whose it is. Nothing is changed.

    Args:
        engine: where to look.
        me: the asking process.
        output: only what belongs to run directories below this folder; None for all.
        alive: says whether an owner still runs.
    """
    found = [
        Found(
            kind="container",
            name=state.name,
            standing=_standing(state.labels, me, alive),
            labels=state.labels,
            state=state,
        )
        for state in engine.observer.find({LABEL_KIND: None})
    ]
    found += [
        Found(kind="volume", name=name, standing=_standing(labels, me, alive), labels=labels)
        for name, labels in engine.volumes.find({LABEL_KIND: None})
    ]
    return Survey(found=tuple(one for one in found if _below(one.labels, output)))


def sweep(
    engine: Engine,
    me: Owner,
    collect: Callable[[ContainerState], None],
    output: Path | None = None,
    *,
    alive: Callable[[Owner], bool] = is_alive,
    spare: Callable[[Found], bool] = lambda _: False,
) -> Swept:
    """Remove what dead runners of this user left, each container only after its evidence is on disk.

    A container that still runs is stopped first, so that what is collected is all there is. Volumes go after the
    containers that use them. Whatever cannot be collected or removed stays, with the reason; the rest goes on.

    Args:
        engine: where to sweep.
        me: the asking process; its user's dead runners are swept.
        collect: keeps a container's evidence; what it raises keeps the container.
        output: only what belongs to run directories below this folder; None for all.
        alive: says whether an owner still runs.
        spare: says of a dead runner's object that it stays all the same, because its run goes on.
    """
    before = survey(engine, me, output, alive=alive)
    spared = tuple(one for one in before.of("dead") if spare(one))
    dead = [one for one in before.of("dead") if one not in spared]
    kept: list[tuple[str, str]] = []
    gone: dict[str, list[str]] = {"container": [], "volume": []}
    for one in dead:
        try:
            if one.state is None:
                _sweep_volume(engine, one)
            else:
                _sweep_container(engine, one.state, collect)
        except (RunnerError, OSError) as error:
            kept.append((one.name, str(error)))
        else:
            gone[one.kind].append(one.name)
    kept += _release(engine, [one for one in dead if one.name in gone["container"]])
    return Swept(
        containers=tuple(gone["container"]),
        volumes=tuple(gone["volume"]),
        kept=tuple(kept),
        left_alone=before.of("mine", "live", "foreign", "unknown"),
        spared=spared,
    )


def _sweep_volume(engine: Engine, volume: Found) -> None:
    """Remove a volume by its name, unless a runner that started since has made it its own."""
    if dict(engine.volumes.find({LABEL_KIND: None})).get(volume.name) == volume.labels:
        engine.volumes.remove(volume.name)


def _sweep_container(engine: Engine, state: ContainerState, collect: Callable[[ContainerState], None]) -> None:
    engine.containers.stop(state.id, _GRACE)  # also one that never began for the engine: it may know no better
    try:
        ended = engine.observer.inspect(state.id)
    except NotFound:
        return  # another sweep was faster
    collect(ended)
    engine.containers.remove(state.id)


def _release(engine: Engine, swept: list[Found]) -> list[tuple[str, str]]:
    """Remove the parent cgroups of swept containers."""
    parents = [parent for one in swept if (parent := one.labels.get(LABEL_CGROUP))]
    try:
        engine.observer.release(parents)
    except EngineError as error:
        return [(parent, str(error)) for parent in parents]
    return []


def _standing(labels: Mapping[str, str], me: Owner, alive: Callable[[Owner], bool]) -> Standing:
    owner = from_labels(labels)
    if owner is None:
        return "unknown"
    if owner == me:
        return "mine"
    if owner.uid != me.uid:
        return "foreign"
    return "live" if alive(owner) else "dead"


def _below(labels: Mapping[str, str], output: Path | None) -> bool:
    return output is None or Path(labels.get(LABEL_RUN_DIR, "")).is_relative_to(output)
