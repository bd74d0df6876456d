"""Ask the sources of what is missing whether they answer, before the first of it is fetched."""

from __future__ import annotations

from collections.abc import Sequence

from runner.errors import ImageError
from runner.images import git, npm, pypi, reach
from runner.images.failures import Failure, once
from runner.images.lockfile import Artifact
from runner.images.models import ImageContext, Recipe
from runner.spec.models import GitSource


def require_reachable(
    ctx: ImageContext, failed: dict[str, Failure], recipe: Recipe, missing: Sequence[Artifact]
) -> None:
    """Find out in seconds whether a recipe's artifacts can be fetched from here at all.

    Args:
        ctx: settings and mirrors.
        failed: what has failed before; a host that kept us waiting is not asked a second time.
        recipe: whose artifacts.
        missing: those that are to be fetched.

    Raises:
        Unreachable: if the source of one does not answer.
    """
    kinds = {one.kind for one in missing}
    if "git" in kinds:
        require_repository(ctx, failed, recipe)
    if "npm" in kinds:
        package = next(f"{one.name}@{one.version}" for one in missing if one.kind == "npm")
        with once(failed, "npm's registry", (reach.Unreachable,)):
            npm.require_reachable(ctx, package, str(recipe.lock))
    if kinds & {"wheel", "sdist"}:
        with once(failed, "pip's index", (reach.Unreachable,)):
            pypi.require_reachable(ctx, str(recipe.lock))


def require_repository(ctx: ImageContext, failed: dict[str, Failure], recipe: Recipe) -> None:
    """Find out in seconds whether a recipe's repository answers; a recipe without one has nothing to ask.

    Raises:
        Unreachable: if it does not.
    """
    source = recipe.framework.source if recipe.framework else None
    if isinstance(source, GitSource):
        host = reach.host_of(git.address_of(source, recipe.folder, ctx.rewrite))
        with once(failed, f"host {host}", (reach.Silent,)):
            git.require_reachable(ctx, source, folder=recipe.folder, where=str(recipe.file))


def fetch_repository(ctx: ImageContext, recipe: Recipe, wanted: Artifact) -> None:
    """Bring a recipe's locked tree into the cache.

    Raises:
        ImageError: if the repository has something else under that commit, or nothing.
    """
    source = recipe.framework.source if recipe.framework else None
    if not isinstance(source, GitSource):
        raise ImageError(f"{recipe.name} has a locked commit but no git source", where=str(recipe.lock))
    found = git.fetch(ctx, source, name=recipe.name, folder=recipe.folder, where=str(recipe.file))
    if found.sha256 != wanted.sha256:
        raise ImageError(
            f"the tree of commit {source.commit} does not fit the lock of {recipe.name}",
            where=str(recipe.lock),
            why=f"It has sha256 {found.sha256}; the lock says {wanted.sha256}.",
            hint=f"Run: runner images lock {recipe.name}",
        )
