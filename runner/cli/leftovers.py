"""What `runner clean` can remove: groups of things that are ours and nobody's any more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from runner.cli.groups import Group
from runner.cli.old_runs import RunsWanted, attempts_group, images_of_kept_runs, runs_group, unfinished
from runner.cli.workplace import Workplace
from runner.engine.docker import connect
from runner.engine.owner import Owner, current
from runner.engine.protocol import Engine
from runner.engine.sweep import Found, Survey, survey
from runner.errors import ConfigError, EngineError, RunnerError, StorageError
from runner.evidence.copying import remove_tree
from runner.evidence.superseded import SUPERSEDED
from runner.evidence.usage import Meter
from runner.execution.recovery import stale_cgroups, sweep_dead
from runner.gateway.leftovers import abandoned, remove_leftovers
from runner.gateway.settings import runtime_folder
from runner.images.locks import alone
from runner.images.usage import ImageRoom, image_rooms
from runner.names import LABEL_RUN
from runner.report.format import duration, size


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked at besides what dead runners left."""

    superseded: bool = False
    """Replaced run directories."""
    attempts: bool = False
    """What earlier attempts left."""
    images: bool = False
    images_unused_for: float | None = None
    """Seconds; None: only images that no recipe asks for any more."""
    cache: bool = False
    runs: RunsWanted | None = None


def collect(stack: ExitStack, workplace: Workplace, output: Path, wanted: Wanted) -> list[Group]:
    """Return what could be removed; nothing is changed yet.

    Args:
        stack: keeps the engine's connection open until the groups are not needed any more.
        workplace: project and folders.
        output: folder of run directories.
        wanted: what is looked at.

    Raises:
        ConfigError: if the place of the archives cannot be used, or a run that is to stay is not known.
        EngineError: if the engine does not answer, and nothing is wanted that needs none: a full disk may have ended it.
        StorageError: if the ledger cannot be used.
    """
    engine = _engine(stack, workplace, wanted)
    # Calls that a dead gateway left open get their lines before what they belong to is collected.
    groups = [_gateways(workplace)]
    groups += [engine] if isinstance(engine, Group) else _in_engine(engine)
    if cut_off := unfinished(output):
        groups.append(cut_off)
    if wanted.superseded:
        groups.append(_folders("superseded runs", sorted((output / SUPERSEDED).glob("*/*"))))
    if wanted.attempts:
        groups.append(attempts_group(output))
    if wanted.images and not isinstance(engine, Group):
        groups.append(_images(engine, workplace, output, wanted.images_unused_for))
    if wanted.cache:
        groups.append(_cache(workplace.cache))
    if wanted.runs is not None:
        groups.append(runs_group(output, wanted.runs))
    return groups


def _engine(stack: ExitStack, workplace: Workplace, wanted: Wanted) -> Engine | Group:
    """Connect to the engine; if there is none and folders are wanted, return what says so."""
    try:
        return stack.enter_context(connect(workplace.environment))
    except EngineError as error:
        if wanted.images or not (wanted.superseded or wanted.attempts or wanted.cache or wanted.runs):
            raise
        return Group(title="not looked at", items=(("the engine", error.what),), remove=list, removable=False)


def _in_engine(engine: Engine) -> Iterator[Group]:
    me = current()
    found = survey(engine, me)
    yield _dead(engine, me, found)
    yield _cgroups(engine)
    yield _left_alone(found)


def _gateways(workplace: Workplace) -> Group:
    """Return the private folders of gateways that died together with their runner and that nobody can take over."""
    try:
        runtime = runtime_folder(workplace.environment)
    except ConfigError as error:
        return Group(title="not looked at", items=(("gateways", error.what),), remove=list, removable=False)
    folders = abandoned(runtime)

    def remove() -> list[str]:
        remove_leftovers(runtime)
        return [f"{folder} cannot be removed" for folder in folders if folder.exists()]

    items = tuple((str(one), "") for one in folders)
    return Group(title="folders of gateways that have ended", items=items, remove=remove)


def _dead(engine: Engine, me: Owner, found: Survey) -> Group:
    def remove() -> list[str]:
        return [f"{name}: {why}" for name, why in sweep_dead(engine, me).kept]

    items = tuple((one.name, _describe(one)) for one in found.of("dead"))
    return Group(title="left by runners that have ended", items=items, remove=remove)


def _describe(one: Found) -> str:
    state = one.state.status if one.state else "volume; its folder stays"
    return f"{one.kind} {state}, run {one.labels.get(LABEL_RUN, 'unknown')}"


def _cgroups(engine: Engine) -> Group:
    stale = stale_cgroups(engine)

    def remove() -> list[str]:
        try:
            engine.observer.release(stale)
        except RunnerError as error:
            return [str(error)]
        return []

    return Group(title="empty control groups", items=tuple((name, "") for name in stale), remove=remove)


def _left_alone(found: Survey) -> Group:
    items = tuple((one.name, f"{one.standing} {_describe(one)}") for one in found.of("live", "foreign", "unknown"))
    return Group(title="in use, or another user's (left alone)", items=items, remove=list, removable=False)


def _folders(title: str, folders: list[Path]) -> Group:
    meter = Meter()
    sizes = [meter.measure(folder) for folder in folders]

    def remove() -> list[str]:
        problems: list[str] = []
        for folder in folders:
            try:
                remove_tree(folder)
            except StorageError as error:
                problems.append(f"{folder}: {error.why or error.what}")
        return problems

    items = tuple((str(folder), size(room)) for folder, room in zip(folders, sizes, strict=True))
    return Group(title=title, items=items, remove=remove, bytes=sum(sizes))


def _cache(cache: Path) -> Group:
    """Return what was fetched; it is not removed under a build that reads it."""
    group = _folders("fetch cache", [one for one in (cache / "cas",) if one.is_dir()])

    def remove() -> list[str]:
        with alone(cache) as nobody_else:
            return (
                group.remove() if nobody_else else ["skipped, a build or fetch is using it; try again when it is over"]
            )

    return replace(group, remove=remove)


def _images(engine: Engine, workplace: Workplace, output: Path, unused_for: float | None) -> Group:
    """Return images that were made of this project's recipes and that nobody needs any more."""
    from runner.cli.image_stage import image_context
    from runner.images import pipeline

    context = image_context(workplace, engine)
    since = None if unused_for is None else time.time() - unused_for
    old = pipeline.superseded(context, unused_since=since, keep=images_of_kept_runs(output))

    def remove() -> list[str]:
        gone = pipeline.remove(context, old)
        return [f"{one.tag} is in use and stays" for one in old if one.tag not in gone]

    rooms = {one.tag: one for one in image_rooms(context)}
    items = tuple((one.tag, f"built from {one.inputs[:12]}{_room(rooms.get(one.tag))}") for one in old)
    total = sum(rooms[one.tag].bytes for one in old if one.tag in rooms)
    return Group(title="old images", items=items, remove=remove, bytes=total)


def _room(room: ImageRoom | None) -> str:
    if room is None:
        return ""
    used = f"last used {duration(time.time() - room.last_used)} ago" if room.last_used is not None else "never used"
    return f", {size(room.bytes)}, {used}"
