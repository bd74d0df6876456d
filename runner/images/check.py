"""Check recipes: is the lock fresh, is the cache what it says, does building again give the same image?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.errors import ConfigError, ImageError
from runner.images import build, cas, locks, patches, records, saved
from runner.images.layers import Node, Tree, content_digest, read_layer
from runner.images.lockfile import Artifact
from runner.images.models import BuiltImage, Finding, ImageContext, Recipe
from runner.images.recipe import BASE, everything, load, names
from runner.images.stages import Ground, fetch_recipe, lock_of, made, ready


def check(ctx: ImageContext, selected: Sequence[str], *, rebuild: bool = False) -> list[Finding]:
    """Look for what is wrong with recipes, their artifacts and, if asked, their images.

    Args:
        ctx: where and with what.
        selected: recipes; none means the base and every framework.
        rebuild: build each image again and compare; on difference the first differing file is named.

    Returns:
        findings, the good ones too, in the order of the recipes.

    Raises:
        ConfigError: if there is no recipe of a name, with those there are.
    """
    for name in set(selected) - set(everything(ctx.images)):
        load(ctx.images, name)
    ground = Ground(ctx)
    findings: list[Finding] = []
    with locks.using(ctx.cache):
        for name in list(selected) or [BASE, *names(ctx.images)]:
            try:
                findings += _check(ground, load(ctx.images, name), rebuild=rebuild)
            except (ImageError, ConfigError) as error:
                findings.append(Finding(name=name, ok=False, text=str(error)))
    return findings


def _check(ground: Ground, recipe: Recipe, *, rebuild: bool) -> list[Finding]:
    lock = lock_of(ground, recipe)
    total = len(lock.artifacts)
    findings = [Finding(name=recipe.name, ok=True, text=f"the lock fits its inputs: {total} artifacts of {lock.date}")]
    bad = [problem for one in lock.artifacts if (problem := _artifact(ground.ctx.cache, one, recipe.name))]
    absent = sum(not cas.path_of(ground.ctx.cache, one.sha256).exists() for one in lock.artifacts)
    findings += [Finding(name=recipe.name, ok=False, text=problem) for problem in bad]
    findings += [
        Finding(name=recipe.name, ok=True, text=f"patched, {file}: {reason}")
        for file, reason in patches.of(recipe).items()
    ]
    if not bad:
        text = f"{total - absent} artifacts in the cache are what the lock says, {absent} are not fetched"
        findings.append(Finding(name=recipe.name, ok=True, text=text))
    elif rebuild:
        findings.append(Finding(name=recipe.name, ok=False, text="not built again: first mend the cache"))
    if rebuild and not bad:
        findings.append(_rebuild(ground, recipe))
    return findings


def _artifact(cache: Path, one: Artifact, name: str) -> str:
    """Return what is wrong with a cached artifact; nothing if it is fine or not there."""
    if not cas.path_of(cache, one.sha256).exists():
        return ""
    try:
        cas.verified(cache, one.sha256, name=one.file, refetch=name)
    except ImageError as error:
        return str(error)
    return ""


def _rebuild(ground: Ground, recipe: Recipe) -> Finding:
    """Build again from the cache and compare with the image in the engine."""
    ctx = ground.ctx
    image = ready(ground, recipe)
    ctx.say(f"{recipe.name}: building again")
    lock = fetch_recipe(ground, recipe)
    log = records.log_path(ctx.cache, recipe, image.inputs).with_suffix(".rebuild.log")
    with made(ground, recipe, lock, log) as again:
        if again.id == image.id:
            return Finding(name=recipe.name, ok=True, text=f"building again gave the same image, {image.id}")
        text = f"building again gave {again.id}, not {image.id}: {_first_difference(ctx, image, again)}"
    return Finding(name=recipe.name, ok=False, text=text)


def _first_difference(ctx: ImageContext, image: BuiltImage, again: build.Made) -> str:
    """Say how the first path, in the order of path bytes, differs between the image in the engine and a new build."""
    with cas.scratch(ctx.cache, "compare") as folder:
        file = folder / "saved.tar"
        with file.open("wb") as out:
            for chunk in ctx.engine.images.transfer(save=image.engine_id):
                out.write(chunk)
        old = saved.read_saved(file)
        return compare(_tree(old.layers), _tree(again.layers)) or "the files are the same, the configs differ"


def _tree(layers: Sequence[saved.Layer]) -> Tree:
    tree: Tree = {}
    for layer in layers:
        read_layer(tree, layer.file, layer.offset)
    return tree


def compare(old: Tree, new: Tree) -> str:
    """Describe the first difference between two file trees; empty if there is none."""
    for path in sorted({*old, *new}, key=lambda path: path.encode("utf-8", "surrogateescape")):
        if path not in new:
            return f"{path} is missing in the new one"
        if path not in old:
            return f"{path} is only in the new one"
        if different := _differences(old[path], new[path]):
            return f"{path} differs in {different}"
    return ""


def _differences(old: Node, new: Node) -> str:
    one, other = old.entry, new.entry
    values = {
        "type": (one.type, other.type),
        "mode": (oct(one.mode), oct(other.mode)),
        "owner": ((one.uid, one.gid), (other.uid, other.gid)),
        "size": (one.size, other.size),
        "link target": (one.link, other.link),
        "extended attributes": (dict(one.xattrs), dict(other.xattrs)),
        "mtime": (one.mtime, other.mtime),
    }
    found = [f"{name} ({before} → {after})" for name, (before, after) in values.items() if before != after]
    if one.size == other.size and content_digest(old) != content_digest(new):
        found.append(f"content (sha256 {content_digest(old)[:12]} → {content_digest(new)[:12]})")
    return ", ".join(found)
