"""Images that a project has left behind: what recipes were made into before they changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.engine.owner import current
from runner.engine.sweep import survey
from runner.errors import ConfigError
from runner.images import records
from runner.images.models import ImageContext
from runner.images.recipe import BASE, everything, image_inputs, load
from runner.images.records import ImageRecord


@dataclass(frozen=True, kw_only=True)
class _Needs:
    """Images that a project's present recipes ask for."""

    tags: frozenset[str] = frozenset()
    unclear: frozenset[str] = frozenset()
    """Recipes that cannot be read, so that any image of theirs may be the one."""
    everything: bool = False
    """Whether no image can be ruled out, since the base all others stand on cannot be read."""

    def include(self, record: ImageRecord) -> bool:
        return self.everything or record.tag in self.tags or record.name in self.unclear


def superseded(
    ctx: ImageContext, *, unused_since: float | None = None, keep: Collection[str] = ()
) -> list[ImageRecord]:
    """List images made of this project's recipes that no present recipe asks for and that the engine still has.

    Whatever may be needed is left out: images that another project of this user asks for, those of recipes that cannot
    be read, and those that a container of anybody but a dead runner of this user is made from.

    Args:
        ctx: where and with what.
        unused_since: seconds since the epoch; only images that were used last before that, but present recipes' too: they
            are built again when they are needed.
        keep: config digests of images that stay, because runs are kept that were made with them.
    """
    found = records.every(ctx.cache)
    projects = {project for record in found for project in record.projects} | {str(ctx.images)}
    needs = [] if unused_since is not None else [_needs(Path(project)) for project in projects]
    used = _used(ctx)
    old = []
    for record in found:
        made_here = record.built_at is not None and str(ctx.images) in record.projects
        if not made_here or record.id in keep or any(one.include(record) for one in needs):
            continue
        if unused_since is not None and (records.last_used(ctx.cache, record.inputs) or 0.0) >= unused_since:
            continue
        image = ctx.engine.images.inspect(record.tag)
        if image is not None and image.id not in used:
            old.append(record)
    return _without_bases(old, found) if unused_since is not None else old


def _without_bases(old: Sequence[ImageRecord], found: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Leave out what images that stay stand on: a base is used whenever they are."""
    going = {record.inputs for record in old}
    bases = {record.base for record in found if record.inputs not in going}
    return [record for record in old if record.id not in bases]


def _needs(images: Path) -> _Needs:
    """Read what a project asks for; one that is gone asks for nothing."""
    tags, unclear = set(), set()
    try:
        if not images.is_dir():
            return _Needs()
        base = image_inputs(load(images, BASE), "")
        recipes = everything(images)
    except (ConfigError, OSError):
        return _Needs(everything=True)
    for name in recipes:
        try:
            recipe = load(images, name)
            if recipe.lock.is_file():
                tags.add(recipe.tag(image_inputs(recipe, "" if name == BASE else base)))
        except (ConfigError, OSError):
            unclear.add(name)
    return _Needs(tags=frozenset(tags), unclear=frozenset(unclear))


def _used(ctx: ImageContext) -> set[str]:
    """Return the engine's ids of images that containers are made from, those of dead runners of this user left out."""
    found = survey(ctx.engine, current()).of("mine", "live", "foreign", "unknown")
    return {one.state.image for one in found if one.state is not None}


def remove(ctx: ImageContext, chosen: Iterable[ImageRecord]) -> list[str]:
    """Remove images from the engine, and their records once they are gone; one in use stays.

    Returns:
        tags that are gone.
    """
    gone = []
    for record in chosen:
        ctx.engine.images.remove(record.tag)
        if ctx.engine.images.inspect(record.tag) is None:
            records.path_of(ctx.cache, record.inputs).unlink(missing_ok=True)
            gone.append(record.tag)
    return gone
