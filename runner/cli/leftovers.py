"""What `runner clean` can remove: groups of things that are ours and nobody's any more."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from runner.cli.workplace import Workplace
from runner.engine.docker import connect
from runner.engine.owner import Owner, current
from runner.engine.protocol import Engine
from runner.engine.sweep import Found, Survey, survey
from runner.errors import RunnerError
from runner.evidence.superseded import SUPERSEDED
from runner.evidence.tree import scan
from runner.execution.recovery import stale_cgroups, sweep_dead
from runner.images.locks import alone
from runner.names import LABEL_RUN
from runner.report.format import plural, size

Item = tuple[str, str]
"""Name and what there is to know about it."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Things of one kind, and how they are removed together."""

    title: str
    items: tuple[Item, ...]
    remove: Callable[[], list[str]]
    """Removes them and returns what could not be removed, and why."""
    removable: bool = True
    """False for what is only reported."""
    bytes: int | None = None
    """Room they take, None if that is not known."""

    @property
    def summary(self) -> str:
        """Write how many there are and how much room they take."""
        if not self.items:
            return "none"
        room = f", {size(self.bytes)}" if self.bytes is not None else ""
        return plural(len(self.items), "item") + room

    def values(self, problems: Collection[str]) -> dict[str, object]:
        """Return the group as plain values, for `--json`."""
        items = [{"name": name, "detail": detail} for name, detail in self.items]
        return {
            "title": self.title,
            "items": items,
            "bytes": self.bytes,
            "removable": self.removable,
            "problems": list(problems),
        }


def collect(
    stack: ExitStack, workplace: Workplace, output: Path, *, superseded: bool, images: bool, cache: bool
) -> list[Group]:
    """Return what could be removed; nothing is changed yet.

    Args:
        stack: keeps the engine's connection open until the groups are not needed any more.
        workplace: project and folders.
        output: folder of run directories.
        superseded: whether replaced run directories are looked at.
        images: whether images are looked at.
        cache: whether the fetch cache is looked at.

    Raises:
        EngineError: if the engine does not answer.
    """
    engine = stack.enter_context(connect(workplace.environment))
    me = current()
    found = survey(engine, me)
    groups = [_dead(engine, me, found), _cgroups(engine), _left_alone(found)]
    if superseded:
        groups.append(_folders("superseded runs", sorted((output / SUPERSEDED).glob("*/*"))))
    if images:
        groups.append(_images(engine, workplace))
    if cache:
        groups.append(_cache(workplace.cache))
    return groups


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
    sizes = [scan(folder).bytes for folder in folders]

    def remove() -> list[str]:
        problems: list[str] = []
        for folder in folders:
            try:
                shutil.rmtree(folder)
            except OSError as error:
                problems.append(f"{folder}: {error.strerror}")
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


def _images(engine: Engine, workplace: Workplace) -> Group:
    """Return images that were made of this project's recipes and that nobody needs any more."""
    from runner.cli.image_stage import image_context
    from runner.images import pipeline

    context = image_context(workplace, engine)
    old = pipeline.superseded(context)

    def remove() -> list[str]:
        gone = pipeline.remove(context, old)
        return [f"{one.tag} is in use and stays" for one in old if one.tag not in gone]

    items = tuple((one.tag, f"built from {one.inputs[:12]}") for one in old)
    return Group(title="old images", items=items, remove=remove)
