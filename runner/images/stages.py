"""The three stages of one recipe: lock, fetch, build. Which recipes, and in what order, is `pipeline`'s business."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from runner.errors import ImageError, StorageError
from runner.images import (
    build,
    cas,
    debs,
    lockfile,
    locks,
    npm,
    packages,
    patches,
    pypi,
    records,
    smoke,
    sources,
    space,
)
from runner.images.context import Material
from runner.images.failures import Failure, once
from runner.images.lockfile import Artifact, Lock
from runner.images.models import BuiltImage, ImageContext, Recipe, SystemRecipe
from runner.images.recipe import BASE, image_inputs, load, lock_inputs, sha256
from runner.names import LABEL_INPUTS

PIP_TOOL = "python3-pip-whl"
COMPILER = "builder/compile"


@dataclass(frozen=True)
class Ground:
    """What every framework and builder image stands on; parts are worked out when they are first asked for."""

    ctx: ImageContext
    failed: dict[str, Failure] = field(default_factory=dict)
    """What has failed and is not tried again."""

    @cached_property
    def recipe(self) -> Recipe:
        with once(self.failed, "base recipe"):
            return load(self.ctx.images, BASE)

    @cached_property
    def system(self) -> SystemRecipe:
        if self.recipe.system is None:
            raise ImageError("the base is no system recipe", where=str(self.recipe.file))
        return self.recipe.system

    @cached_property
    def lock(self) -> Lock:
        with once(self.failed, "base lock"):
            lock = lockfile.read(self.recipe)
            lockfile.require_fresh(self.recipe, lock, lock_inputs(self.recipe, None))
            return lock

    @cached_property
    def inputs(self) -> str:
        with once(self.failed, "base inputs"):
            return image_inputs(self.recipe, "")

    @cached_property
    def fetched(self) -> Lock:
        """The base's lock, its artifacts in the cache."""
        with once(self.failed, "base artifacts"):
            return packages.fetch(self.ctx, self.recipe, self.system, self.lock, ())

    @cached_property
    def image(self) -> BuiltImage:
        return ready(self, self.recipe)

    @cached_property
    def pip(self) -> Path:
        """Folder with `pip.whl`, taken out of the locked package that carries it."""
        for one in self.fetched.of("deb", use="tool"):
            if one.name == PIP_TOOL:
                folder = self.ctx.cache / "tools" / one.sha256
                if not (folder / "pip.whl").is_file():
                    folder.mkdir(parents=True, exist_ok=True)
                    deb = cas.verified(self.ctx.cache, one.sha256, name=one.file, refetch=BASE)
                    with cas.scratch(self.ctx.cache, "pip") as scratch:
                        debs.extract_file(deb, ".whl", scratch / "pip.whl")
                        (scratch / "pip.whl").replace(folder / "pip.whl")
                return folder
        raise ImageError(
            f"the base's lock holds no {PIP_TOOL}",
            where=str(self.recipe.lock),
            hint=f"Name {PIP_TOOL} under tools in base.yaml, then run: runner images lock base",
        )

    def workshop(self, *, compiles: bool) -> pypi.Workshop:
        """Return where pip runs: the base image, or one with compilers on it."""
        image = ready(self, load(self.ctx.images, COMPILER)) if compiles else self.image
        return pypi.Workshop(image=image.engine_id, pip=self.pip, compiles=compiles, key=image.inputs)

    def compiler_key(self) -> str:
        """Return the hash of what builds wheels, without building it."""
        return image_inputs(load(self.ctx.images, COMPILER), self.inputs)


def inputs_of(ground: Ground, recipe: Recipe) -> str:
    """Return the hash of everything that goes into a recipe's image."""
    return ground.inputs if recipe.kind == "base" else image_inputs(recipe, ground.inputs)


def lock_of(ground: Ground, recipe: Recipe) -> Lock:
    """Return a recipe's own lock.

    Raises:
        ConfigError: if it is absent, broken, or older than its inputs.
    """
    if recipe.kind == "base":
        return ground.lock
    lock = lockfile.read(recipe)
    lockfile.require_fresh(recipe, lock, lock_inputs(recipe, ground.lock))
    return lock


def below(ground: Ground, recipe: Recipe) -> list[Artifact]:
    """Return the Debian packages that a recipe's own are installed on, if it has any."""
    return ground.fetched.of("deb") if recipe.packages else []


def fetch_recipe(ground: Ground, recipe: Recipe) -> Lock:
    """Bring every artifact of a recipe's lock into the cache, each compared with its hash.

    Returns:
        the lock to build from; not the recipe's own if Debian packages of that are gone.

    Raises:
        ConfigError: if the lock is absent or stale.
        ImageError: if an artifact cannot be had, or is not what the lock says.
    """
    ctx, own = ground.ctx, lock_of(ground, recipe)
    if recipe.kind == "base":
        return ground.fetched
    unfetched = [one for one in own.artifacts if not cas.has(ctx.cache, one.sha256)]
    sources.require_reachable(ctx, ground.failed, recipe, unfetched)
    lock = packages.fetch(
        ctx, recipe, ground.system if recipe.framework else recipe.system or ground.system, own, below(ground, recipe)
    )
    where = str(recipe.lock)
    missing = [one for one in lock.artifacts if not cas.has(ctx.cache, one.sha256)]
    python = [one for one in missing if one.kind in {"wheel", "sdist"}]
    modules = [one for one in missing if one.kind == "npm"]
    if missing:
        total = sum(one.size for one in missing) / 1e6
        ctx.say(f"{recipe.name}: fetching {len(missing)} artifacts ({total:.1f} MB)")
    if python:
        needs_compiler = any(one.kind == "sdist" for one in python)
        pypi.fetch(ctx, ground.workshop(compiles=needs_compiler), python, where)
    if modules:
        npm.fetch(ctx, modules, where)
    for one in missing:
        if one.kind == "git":
            sources.fetch_repository(ctx, recipe, one)
    for one in lock.of("sdist"):
        if pypi.derived(ctx.cache, one, ground.compiler_key()) is None:
            ctx.say(f"{recipe.name}: building a wheel of {one.name} {one.version}")
            pypi.build_wheel(ctx, ground.workshop(compiles=True), one, where)
    return lock


def material_of(ground: Ground, recipe: Recipe, lock: Lock) -> Material:
    """Collect the verified artifacts for a build.

    Raises:
        ImageError: if one is absent from the cache, truncated or tampered with.
    """
    cache = ground.ctx.cache
    python = [one if one.kind == "wheel" else _derived(ground, one) for one in lock.of("wheel", "sdist")]
    modules = lock.of("npm")

    def take(one: Artifact) -> Path:
        return cas.verified(cache, one.sha256, name=one.file, refetch=recipe.name)

    files = {f"debs/{one.file}": take(one) for one in lock.of("deb")}
    files |= {f"wheels/{one.file}": take(one) for one in python}
    files |= {f"npm/{one.sha256}.tgz": take(one) for one in modules}
    files |= {f"data/{one.file}": take(one) for one in lock.of("wheel", use="data")}
    if python:
        files["tools/pip.whl"] = ground.pip / "pip.whl"
    return Material(
        files=files,
        wheels=tuple(f"{one.name}=={one.version}" for one in python),
        npm=tuple({"file": f"{one.sha256}.tgz", "path": one.path or one.name} for one in modules),
        tree=next((take(one) for one in lock.of("git")), None),
    )


def _derived(ground: Ground, sdist: Artifact) -> Artifact:
    wheel = pypi.derived(ground.ctx.cache, sdist, ground.compiler_key())
    if wheel is None:
        raise ImageError(f"no wheel has been built of {sdist.file}", hint="Run: runner images fetch")
    return wheel


@contextlib.contextmanager
def made(ground: Ground, recipe: Recipe, lock: Lock, log: Path) -> Iterator[build.Made]:
    """Build and normalise a recipe's image from the cache; it exists on disk as long as the context."""
    ctx = ground.ctx
    material = material_of(ground, recipe, lock)
    base = None if recipe.kind == "base" else ground.image
    log.parent.mkdir(parents=True, exist_ok=True)
    with cas.scratch(ctx.cache, "build") as folder, log.open("w", 1, "utf-8", "replace") as out:
        yield build.make(
            ctx, recipe, lock, inputs=inputs_of(ground, recipe), material=material, base=base, folder=folder, log=out
        )


def ready(ground: Ground, recipe: Recipe) -> BuiltImage:
    """Return a recipe's image, fetched, built and smoke tested if the engine does not have it yet.

    Raises:
        ConfigError: if its lock is absent or stale.
        ImageError: if a stage fails.
    """
    # An image that is there may have been made before the recipe asked for something else.
    lock_of(ground, recipe)
    ctx = ground.ctx

    def wait(holder: str) -> None:
        ctx.say(f"{recipe.name}: another build of it is under way (process {holder}); waiting")

    with once(ground.failed, f"image of {recipe.name}"):
        found = present(ground, recipe)
        if found is not None:
            return found
        inputs = inputs_of(ground, recipe)
        with locks.using(ctx.cache), locks.building(recipe.tag(inputs), wait):
            return present(ground, recipe) or _build(ground, recipe, inputs)


def present(ground: Ground, recipe: Recipe) -> BuiltImage | None:
    """Return a recipe's image if the engine has it; one that has not passed its present smoke test here is tried first.

    Raises:
        ImageError: if the smoke test fails.
    """
    ctx, inputs = ground.ctx, inputs_of(ground, recipe)
    tag = recipe.tag(inputs)
    info = ctx.engine.images.inspect(tag)
    if info is None or info.labels.get(LABEL_INPUTS) != inputs:
        return None
    record = records.read(ctx.cache, inputs)
    image = BuiltImage(name=recipe.name, tag=tag, id=info.config_digest, engine_id=info.id, inputs=inputs, built=False)
    if record is None or record.smoke_test != smoke.key(recipe) or record.id != image.id:
        _try(ground, recipe, image)
        _record(ground, recipe, image, lock_of(ground, recipe), built=False)
    elif str(ctx.images) not in record.projects:
        records.write(ctx.cache, record.model_copy(update={"projects": (*record.projects, str(ctx.images))}))
    records.touch(ctx.cache, inputs)
    return image


def _build(ground: Ground, recipe: Recipe, inputs: str) -> BuiltImage:
    ctx = ground.ctx
    _require_platform(ctx, recipe)
    space.require_build_space(ctx, recipe.name, lock_of(ground, recipe))
    lock = fetch_recipe(ground, recipe)
    log, tag = records.log_path(ctx.cache, recipe, inputs), recipe.tag(inputs)
    if recipe.kind != "base":
        _ = ground.image
    ctx.say(f"{recipe.name}: building")
    started = time.monotonic()
    build.sweep(ctx)
    try:
        with made(ground, recipe, lock, log) as result:
            engine_id = build.load(ctx, result, tag)
    except OSError as error:
        raise StorageError(
            f"{recipe.name} could not be built in {ctx.cache}",
            why=str(error),
            hint="Free some space (an image needs about five times its size for a while), or set XDG_CACHE_HOME.",
        ) from error
    image = BuiltImage(name=recipe.name, tag=tag, id=result.id, engine_id=engine_id, inputs=inputs, built=True)
    try:
        _try(ground, recipe, image)
    except ImageError:
        ctx.engine.images.remove(tag)
        raise
    _record(ground, recipe, image, lock, built=True)
    ctx.say(f"{recipe.name}: built {image.tag} in {time.monotonic() - started:.0f} s")
    return image


def _require_platform(ctx: ImageContext, recipe: Recipe) -> None:
    platform = ctx.engine.info().platform
    if platform != lockfile.PLATFORM:
        raise ImageError(
            f"{recipe.name} cannot be built on this engine",
            where=str(recipe.lock),
            why=f"Its artifacts are for {lockfile.PLATFORM}, the engine runs on {platform}.",
        )


def _try(ground: Ground, recipe: Recipe, image: BuiltImage) -> None:
    log = records.log_path(ground.ctx.cache, recipe, image.inputs)
    log.parent.mkdir(parents=True, exist_ok=True)
    smoke.test(ground.ctx, recipe, image.engine_id, log)


def _record(ground: Ground, recipe: Recipe, image: BuiltImage, lock: Lock, *, built: bool) -> None:
    ctx = ground.ctx
    info = ctx.engine.images.inspect(image.engine_id)
    registry = recipe.system.registry if recipe.system else None
    log = records.log_path(ctx.cache, recipe, image.inputs)
    before = records.read(ctx.cache, image.inputs)
    sdists = {one.file: pypi.derived(ctx.cache, one, ground.compiler_key()) for one in lock.of("sdist")}
    records.write(
        ctx.cache,
        records.ImageRecord(
            name=recipe.name,
            tag=image.tag,
            id=image.id,
            inputs=image.inputs,
            lock_sha256=sha256(recipe.lock),
            lock_date=lock.date,
            artifacts=len(lock.artifacts),
            artifacts_bytes=sum(one.size for one in lock.artifacts),
            base=(registry or "bootstrapped") if recipe.kind == "base" else ground.image.id,
            substitutions=packages.substitutions(lockfile.read(recipe), lock),
            derived={name: wheel.sha256 for name, wheel in sdists.items() if wheel is not None},
            patches=patches.of(recipe),
            size=info.size if info else None,
            built_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if built else _built_at(before, image),
            engine_version=ctx.engine.info().version,
            log=str(log.relative_to(ctx.cache)) if log.exists() else None,
            projects=tuple(sorted({*(before.projects if before else ()), str(ctx.images)})),
            smoke_test=smoke.key(recipe),
        ),
    )


def _built_at(before: records.ImageRecord | None, image: BuiltImage) -> str | None:
    """Return when this user built an image that is only tried again now."""
    return before.built_at if before is not None and before.id == image.id else None
