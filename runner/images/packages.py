"""Lock and fetch the Debian packages of a recipe, whatever became of the mirror since."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.errors import ImageError
from runner.images import apt, cas, debs, lockfile
from runner.images.lockfile import Artifact, Lock
from runner.images.models import ImageContext, Recipe, SystemRecipe
from runner.spec.validate import validate
from runner.spec.yaml import load_yaml


def resolve(
    ctx: ImageContext, system: SystemRecipe, packages: Sequence[str], below: Sequence[Artifact]
) -> list[Artifact]:
    """Find the exact packages that `packages` need on top of those `below`, which must be in the cache.

    Raises:
        ImageError: if apt cannot resolve them.
    """
    if not packages:
        return []
    with cas.scratch(ctx.cache, "apt") as folder:
        return apt.resolve(system, packages, _status(ctx.cache, below), folder, ctx.environment)


def resolve_system(ctx: ImageContext, system: SystemRecipe, below: Sequence[Artifact]) -> list[Artifact]:
    """Find the packages of a base or builder recipe, its tools included.

    Of a tool only the package itself is taken: it is read, not run, by the stages. A registry image brings its own
    packages, so that only tools are locked beside it.
    """
    installed = [] if system.registry else resolve(ctx, system, system.packages, below)
    tools = resolve(ctx, system, system.tools, ())
    kept = [one.model_copy(update={"use": "tool"}) for one in tools if one.name in system.tools]
    return [*installed, *kept]


def _status(cache: Path, packages: Sequence[Artifact]) -> str:
    """Describe packages as installed, in the format of dpkg's status file."""
    stanzas = []
    for one in packages:
        first, _, rest = debs.control(cas.verified(cache, one.sha256, name=one.file, refetch="base")).partition("\n")
        stanzas.append(f"{first}\nStatus: install ok installed\n{rest}\n")
    return "".join(stanzas)


def fetch(ctx: ImageContext, recipe: Recipe, system: SystemRecipe, lock: Lock, below: Sequence[Artifact]) -> Lock:
    """Bring all Debian packages of a lock into the cache.

    A mirror drops packages that were superseded. Then the archive's state on the lock's date is asked, then the
    packages are resolved anew, with a loud notice; that lock is kept beside the cache and used until the recipe's own
    lock changes.

    Returns:
        the lock to build from: the given one, or the one that stands in for it.

    Raises:
        ImageError: if nothing helps.
    """
    lock = effective(ctx.cache, recipe, lock)
    missing = _missing(ctx.cache, lock)
    if not missing:
        return lock
    ctx.say(f"{recipe.name}: fetching {len(missing)} Debian packages ({_megabytes(missing)} MB)")
    gone = _fetch(ctx, system, missing, lock.date)
    if not gone:
        return lock
    ctx.say(
        f"{recipe.name}: {len(gone)} locked Debian packages are gone from mirror and archive "
        f"({', '.join(f'{one.name} {one.version}' for one in gone[:5])}); RESOLVING ANEW. The image will differ from "
        f"one made of the committed lock; `runner images lock {recipe.name}` makes the change permanent.",
        "warning",
    )
    fresh = [*resolve_system(ctx, system, below)] if recipe.system else resolve(ctx, system, recipe.packages, below)
    replaced = lock.model_copy(update={"artifacts": (*(one for one in lock.artifacts if one.kind != "deb"), *fresh)})
    if still := _fetch(ctx, system, _missing(ctx.cache, replaced), lock.date):
        raise ImageError(
            f"{len(still)} Debian packages of {recipe.name} can be had nowhere",
            why=", ".join(f"{one.name} {one.version}" for one in still[:10]),
            hint=f"Check the mirror this machine's apt uses, or set {apt.MIRROR_VARIABLE}.",
        )
    lockfile.write(replaced, _relocked(ctx.cache, recipe), recipe.name)
    return replaced


def effective(cache: Path, recipe: Recipe, lock: Lock) -> Lock:
    """Return the lock that stands in for a recipe's own since packages of that were gone, or the recipe's own."""
    path = _relocked(cache, recipe)
    return validate(load_yaml(path), Lock) if path.is_file() else lock


def substitutions(committed: Lock, used: Lock) -> Mapping[str, str]:
    """Return `name old-version` to new version of every Debian package that is not the one the recipe's lock names."""
    new = {one.name: one.version for one in used.artifacts if one.kind == "deb"}
    changed = {
        f"{one.name} {one.version}": new.pop(one.name, "left out")
        for one in committed.artifacts
        if one.kind == "deb" and new.get(one.name) != one.version
    }
    known = {one.name for one in committed.artifacts}
    return changed | {f"{name} (absent)": version for name, version in new.items() if name not in known}


def _relocked(cache: Path, recipe: Recipe) -> Path:
    sha256, _ = cas.sha256_file(recipe.lock)
    return cache / "relocked" / f"{sha256}.lock"


def _missing(cache: Path, lock: Lock) -> list[Artifact]:
    return [one for one in lock.artifacts if one.kind == "deb" and not cas.has(cache, one.sha256)]


def _fetch(ctx: ImageContext, system: SystemRecipe, wanted: Sequence[Artifact], date: str) -> list[Artifact]:
    """Fetch packages from the mirrors, then from the archive's past; return those that are nowhere."""
    bases = list(dict.fromkeys(source.uri for source in apt.sources(system, ctx.environment)))
    with cas.scratch(ctx.cache, "debs") as folder:
        started = time.monotonic()
        gone = apt.download(wanted, bases, folder, ctx.environment)
        if gone and (past := apt.snapshots(system, date, ctx.environment)):
            ctx.say(f"{len(gone)} Debian packages are gone from the mirror; asking the archive's state of {date}")
            gone = apt.download(gone, past, folder, ctx.environment)
        fetched = [one for one in wanted if (folder / one.file).is_file()]
        for one in fetched:
            cas.ingest(ctx.cache, folder / one.file, one.sha256, name=one.file)
        seconds = time.monotonic() - started
        ctx.say(f"fetched {len(fetched)} Debian packages ({_megabytes(fetched)} MB) in {seconds:.0f} s")
    return gone


def _megabytes(artifacts: Sequence[Artifact]) -> str:
    return f"{sum(one.size for one in artifacts) / 1e6:.1f}"
