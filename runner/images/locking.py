"""Lock a recipe: resolve everything it needs, down to hashes."""

from __future__ import annotations

import time

from runner.images import git, lockfile, npm, packages, pypi, sources
from runner.images.lockfile import Artifact, Lock
from runner.images.models import Recipe
from runner.images.recipe import DATA, lock_inputs
from runner.images.stages import COMPILER, Ground, below
from runner.spec.models import GitSource, NpmSource, PypiSource

_PYTHON = "python3"


def lock_recipe(ground: Ground, recipe: Recipe) -> Lock:
    """Resolve everything a recipe needs, and write its lock.

    Raises:
        ImageError: if something cannot be resolved or fetched.
    """
    ctx = ground.ctx
    ctx.say(f"{recipe.name}: locking")
    base = None if recipe.kind == "base" else ground.lock
    artifacts: list[Artifact] = []
    if recipe.system is not None:
        lower = ground.fetched.of("deb") if base else ()
        artifacts += packages.resolve_system(ctx, recipe.system, lower)
    else:
        artifacts += packages.resolve(ctx, ground.system, recipe.packages, below(ground, recipe))
        artifacts += _lock_source(ground, recipe)
    python = base.python if base else _python_version(artifacts)
    lock = lockfile.make(now=time.time(), python=python, inputs=lock_inputs(recipe, base), artifacts=artifacts)
    lockfile.write(lock, recipe.lock, recipe.name)
    number = len(lock.artifacts)
    ctx.say(f"{recipe.name}: locked {number} artifact{'' if number == 1 else 's'}")
    return lock


def _python_version(artifacts: list[Artifact]) -> str:
    """Return `3.11` from the locked Python package, whose version follows Python's."""
    versions = [one.version for one in artifacts if one.name == _PYTHON]
    return ".".join(versions[0].partition("-")[0].split(".")[:2]) if versions else "3"


def _lock_source(ground: Ground, recipe: Recipe) -> list[Artifact]:
    framework, where = recipe.framework, str(recipe.file)
    artifacts: list[Artifact] = []
    if framework is None:
        return artifacts
    source = framework.source
    if isinstance(source, GitSource):
        sources.require_repository(ground.ctx, ground.failed, recipe)
        artifacts.append(git.fetch(ground.ctx, source, name=recipe.name, folder=recipe.folder, where=where))
    elif isinstance(source, NpmSource):
        artifacts += npm.resolve(ground.ctx, source, where)
    extra = recipe.folder / "requirements.in"
    requirements = extra.read_text(encoding="utf-8") if extra.is_file() else ""
    if isinstance(source, PypiSource):
        requirements = f"{source.pypi}=={source.version}\n{requirements}"
    if any(line.strip() and not line.strip().startswith("#") for line in requirements.splitlines()):
        artifacts += _lock_python(ground, requirements, where)
    data = recipe.folder / DATA
    if data.is_file():
        text = data.read_text(encoding="utf-8")
        found = pypi.resolve(ground.ctx, ground.workshop(compiles=False), text, str(data), alone=True)
        artifacts += [one.model_copy(update={"use": "data"}) for one in found]
    return artifacts


def _lock_python(ground: Ground, requirements: str, where: str) -> list[Artifact]:
    """Resolve with wheels alone, and only if that does not do, with compilers at hand."""
    try:
        return pypi.resolve(ground.ctx, ground.workshop(compiles=False), requirements, where)
    except pypi.NoWheels as error:
        if not (ground.ctx.images / COMPILER).is_dir():
            raise
        ground.ctx.say(f"Not everything can be had as a wheel; resolving again with compilers. pip said:\n{error.why}")
        return pypi.resolve(ground.ctx, ground.workshop(compiles=True), requirements, where)
