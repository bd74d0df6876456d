"""Image stages over many recipes: what `runner images` and `runner go` call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.errors import ConfigError, ImageError
from runner.images import cas, lockfile, locks, packages, records
from runner.images.failures import Failure, refer
from runner.images.locking import lock_recipe
from runner.images.models import BuiltImage, ImageContext, ImageStatus, Recipe
from runner.images.recipe import BASE, everything, image_inputs, load, lock_inputs, names
from runner.images.retired import remove, superseded
from runner.images.stages import Ground, fetch_recipe, inputs_of, present, ready


def lock(ctx: ImageContext, selected: Sequence[str]) -> Mapping[str, int]:
    """Resolve recipes and write their locks; the base first, since others are resolved against it.

    Args:
        ctx: where and with what.
        selected: recipes; none means the base, the builders and every framework.

    Returns:
        number of locked artifacts by recipe.

    Raises:
        ConfigError: if a recipe cannot be used.
        ImageError: if something cannot be resolved.
    """
    counts = {}
    with locks.using(ctx.cache):
        for name in sorted(list(selected) or everything(ctx.images), key=_order):
            recipe = load(ctx.images, name)
            counts[name] = len(lock_recipe(Ground(ctx), recipe).artifacts)
    return counts


def _order(name: str) -> tuple[int, str]:
    return (0 if name == BASE else 1 if "/" in name else 2, name)


def fetch(ctx: ImageContext, selected: Sequence[str]) -> Mapping[str, int | Failure]:
    """Bring what recipes need into the cache.

    Returns:
        by recipe, the number of artifacts that are there now, or why they are not.
    """
    ground = Ground(ctx)
    results: dict[str, int | Failure] = {}
    with locks.using(ctx.cache):
        for name in list(selected) or [BASE, *names(ctx.images)]:
            try:
                results[name] = len(fetch_recipe(ground, load(ctx.images, name)).artifacts)
            except (ImageError, ConfigError) as error:
                results[name] = refer(name, error, results)
    return results


def ensure(ctx: ImageContext, selected: Sequence[str]) -> Mapping[str, BuiltImage | Failure]:
    """Return an image for each recipe, making what is missing: fetched, built without network, smoke tested.

    An image that is there already costs one call to the engine. One that cannot be made does not stop the others.

    Args:
        ctx: where and with what.
        selected: recipes; none means every framework.

    Returns:
        by recipe, the image or why there is none.

    Raises:
        EngineError: if the engine does not answer.
    """
    ground = Ground(ctx)
    results: dict[str, BuiltImage | Failure] = {}
    for name in list(selected) or names(ctx.images):
        try:
            results[name] = ready(ground, load(ctx.images, name))
        except (ImageError, ConfigError) as error:
            results[name] = refer(name, error, results)
    return results


build = ensure
"""`runner images build` makes what is missing; the lock must exist."""


def inputs(folder: Path, base: str) -> str:
    """Hash everything that goes into the image of the recipe in `folder`; pure over files.

    Args:
        folder: `images/<name>`.
        base: the base image's own hash; empty for the base itself.

    Raises:
        ConfigError: if the recipe cannot be used or has no lock.
    """
    return image_inputs(load(folder.parent, folder.name), base)


def known(images: Path, cache: Path, name: str) -> tuple[str, str | None]:
    """Return tag and, if this cache has seen the image, id of the image of a framework or the base; needs no engine.

    Raises:
        ConfigError: if the recipe or the base cannot be used or has no lock.
    """
    recipe = load(images, name)
    digest = image_inputs(recipe, image_inputs(load(images, BASE), "") if name != BASE else "")
    record = records.read(cache, digest)
    return recipe.tag(digest), record.id if record else None


def listing(ctx: ImageContext) -> list[ImageStatus]:
    """Tell for the base, the builders and every framework how far its image is."""
    ground = Ground(ctx)
    rows = []
    for name in everything(ctx.images):
        try:
            rows.append(_status(ground, load(ctx.images, name)))
        except ConfigError as error:
            rows.append(_unlocked(name, stale=str(error)))
    return rows


def _status(ground: Ground, recipe: Recipe) -> ImageStatus:
    ctx = ground.ctx
    if not recipe.lock.is_file() or not ground.recipe.lock.is_file():
        return _unlocked(recipe.name)
    lock_file = lockfile.read(recipe)
    base = None if recipe.kind == "base" else lockfile.read(ground.recipe)
    used = packages.effective(ctx.cache, recipe, lock_file)
    digest = inputs_of(ground, recipe)
    info = ctx.engine.images.inspect(recipe.tag(digest))
    return ImageStatus(
        name=recipe.name,
        tag=recipe.tag(digest),
        id=info.config_digest if info else None,
        locked=True,
        stale=", ".join(lockfile.changed(lock_file, lock_inputs(recipe, base))),
        artifacts=len(used.artifacts),
        artifacts_bytes=sum(one.size for one in used.artifacts),
        missing=sum(not cas.has(ctx.cache, one.sha256) for one in used.artifacts),
        built=info is not None,
        size=info.size if info else None,
        last_used=records.last_used(ctx.cache, digest),
    )


def _unlocked(name: str, stale: str = "") -> ImageStatus:
    return ImageStatus(
        name=name,
        tag=None,
        id=None,
        locked=False,
        stale=stale,
        artifacts=None,
        artifacts_bytes=None,
        missing=None,
        built=False,
        size=None,
        last_used=None,
    )


__all__ = [
    "Failure",
    "build",
    "ensure",
    "fetch",
    "inputs",
    "known",
    "listing",
    "lock",
    "present",
    "remove",
    "superseded",
]
