"""Build one image without network, make it independent of who built it, load it, and try it.

The engine's builder carries out the recipe's Dockerfile; what it made is saved, everything above the base is merged
into one normalised layer, the config is written anew, and the result is loaded. See `layers` and `saved`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runner.engine import owner
from runner.errors import ImageError
from runner.images import debs, saved
from runner.images.context import Material, members
from runner.images.layers import WANTED_DIRECTORIES, Node, Tree, difference, read_layer, write_layer
from runner.images.lockfile import Lock
from runner.images.models import SHORT, BuiltImage, ImageContext, Recipe
from runner.images.tarball import DIRECTORY, Entry, archive, stream
from runner.names import LABEL_FRAMEWORK, LABEL_INPUTS, LABEL_KIND, LABEL_OWNER_UID, LABEL_PREFIX, PROJECT


@dataclass(frozen=True, kw_only=True)
class Made:
    """A normalised image on disk, not loaded yet; its files live as long as the scratch folder."""

    config: bytes
    layers: tuple[saved.Layer, ...]

    @property
    def id(self) -> str:
        return saved.image_id(self.config)


def make(
    ctx: ImageContext,
    recipe: Recipe,
    lock: Lock,
    *,
    inputs: str,
    material: Material,
    base: BuiltImage | None,
    folder: Path,
    log: IO[str],
) -> Made:
    """Carry out a recipe's Dockerfile and normalise the result.

    Args:
        ctx: engine and events.
        recipe: what to build.
        lock: its lock; every file gets the lock's date.
        inputs: hash of everything that goes in, written into the image as a label.
        material: verified artifacts.
        base: image to build on; None for the base itself.
        folder: scratch folder on a disk with room for a few copies of the image.
        log: where the builder's output goes.

    Raises:
        ImageError: if the builder fails, with its last lines and the log's name.
    """
    unique = f"{inputs[:SHORT]}-{os.getpid()}"
    seed_tag = f"{PROJECT}/seed:{unique}"
    built_tag = f"{PROJECT}/build:{unique}"
    registry = recipe.system.registry if recipe.system else None
    if base is not None:
        start = base.engine_id
    elif registry is not None:
        start = registry
    else:
        start = _load_seed(ctx, recipe, material, seed_tag, folder)
    try:
        context = stream(archive(members(recipe, lock, material, bootstrap=base is None and registry is None)))
        arguments = {"BASE": start, "SOURCE_DATE_EPOCH": str(lock.epoch)}
        _drain(
            ctx.engine.images.build(
                context, args=arguments, labels={LABEL_KIND: "build", **owner.current().labels()}, tag=built_tag
            ),
            log,
        )
        file = folder / "saved.tar"
        with file.open("wb") as out:
            for chunk in ctx.engine.images.transfer(save=built_tag):
                out.write(chunk)
    finally:
        ctx.engine.images.remove(built_tag)
        ctx.engine.images.remove(seed_tag)
    return normalise(recipe, lock, inputs, saved.read_saved(file), below=0 if base is None else 1, folder=folder)


def _load_seed(ctx: ImageContext, recipe: Recipe, material: Material, tag: str, folder: Path) -> str:
    """Load an image of the packages' bare files, in which dpkg can then run, and return its tag."""
    file = folder / "seed.tar"
    packages = [path for name, path in sorted(material.files.items()) if name.startswith("debs/")]
    debs.write_root(packages, file, debs.read_rules(recipe.folder / "rootfs"))
    layer = saved.layer_of(file)
    config = saved.config_json([layer], date=0, labels={LABEL_KIND: "build", **owner.current().labels()})
    load(ctx, Made(config=config, layers=(layer,)), tag)
    file.unlink()
    return tag


def _drain(text: Iterator[str], log: IO[str]) -> None:
    """Write the builder's output to the log; on failure name the log, on any end hang up, which stops the builder."""
    try:
        for line in text:
            log.write(line)
    except ImageError as error:
        log.flush()
        raise ImageError(error.what, why=error.why, hint=f"The whole log: {log.name}") from error
    finally:
        if isinstance(text, Generator):
            text.close()


def normalise(recipe: Recipe, lock: Lock, inputs: str, image: saved.Saved, *, below: int, folder: Path) -> Made:
    """Keep the lowest `below` layers, merge those above into one, and write the config anew."""
    lower: Tree = {}
    for layer in image.layers[:below]:
        read_layer(lower, layer.file, layer.offset)
    full = dict(lower)
    for layer in image.layers[below:]:
        read_layer(full, layer.file, layer.offset)
    if not below:
        _ensure_folders(full)
    target = folder / "layer.tar"
    diff_id = write_layer(difference(lower, full), target, date=lock.epoch)
    top = saved.Layer(diff_id=diff_id, file=target, offset=0, size=target.stat().st_size)
    config = image.config.get("config") or {}
    labels = {
        **{name: value for name, value in (config.get("Labels") or {}).items() if not name.startswith(LABEL_PREFIX)},
        LABEL_KIND: "image",
        LABEL_FRAMEWORK: recipe.name,
        LABEL_INPUTS: inputs,
    }
    layers = (*image.layers[:below], top)
    return Made(
        config=saved.config_json(layers, date=lock.epoch, labels=labels, environment=config.get("Env") or ()),
        layers=layers,
    )


def sweep(ctx: ImageContext) -> list[str]:
    """Remove intermediate images whose builder is gone, this user's only, and return their tags, or ids."""
    gone = []
    for image in ctx.engine.images.find({LABEL_KIND: "build", LABEL_OWNER_UID: str(os.getuid())}):
        builder = owner.from_labels(image.labels)
        if builder is not None and not owner.is_alive(builder):
            for reference in image.tags or (image.id,):
                ctx.engine.images.remove(reference)
                gone.append(reference)
    return gone


def _ensure_folders(tree: Tree) -> None:
    for path, mode in WANTED_DIRECTORIES.items():
        tree[path] = Node(entry=Entry(path=path, type=DIRECTORY, mode=mode), inode=object())


def load(ctx: ImageContext, made: Made, tag: str) -> str:
    """Load an image under a tag and return the engine's id of it.

    Raises:
        ImageError: if the engine has another image after it.
    """
    chunks: Iterator[bytes] = saved.load_archive(made.config, made.layers, tag)
    with stream(chunks) as file:
        for _ in ctx.engine.images.transfer(file):
            pass
    info = ctx.engine.images.inspect(tag)
    if info is None or info.config_digest != made.id:
        raise ImageError(
            f"the engine did not keep image {tag} as it was",
            why=f"It was loaded as {made.id}, the engine has {info.config_digest if info else 'nothing'}.",
        )
    return info.id
