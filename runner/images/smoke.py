"""Try a finished image under the constraints of a step, before it is used."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from runner.engine import owner
from runner.engine.protocol import ContainerSpec, Mount, Resources
from runner.errors import ImageError
from runner.images import cas
from runner.images.lockfile import digest
from runner.images.models import ImageContext, Recipe
from runner.images.toolbox import run_container
from runner.names import LABEL_FRAMEWORK, LABEL_KIND, OUT_DIR, PROJECT, STATE_DIR, WORKSPACE_DIR
from runner.spec.models import Framework, Limits

_LAST_LINES = 15


def key(recipe: Recipe) -> str:
    """Return the hash of a recipe's smoke test, empty if it has none."""
    if recipe.framework is None:
        return ""
    framework = recipe.framework
    return digest([framework.smoke_test.model_dump(), dict(framework.environment), list(framework.writable)])


def test(ctx: ImageContext, recipe: Recipe, image: str, log: Path) -> None:
    """Run the smoke test: read-only root, no network, no capabilities, the caller's user, as a step would.

    Args:
        ctx: engine and user.
        recipe: a framework's recipe; others have no smoke test.
        image: the engine's id of the image.
        log: file that its output is appended to.

    Raises:
        ImageError: if it fails or does not end in time, with the last lines.
    """
    framework = recipe.framework
    if framework is None:
        return
    with cas.scratch(ctx.cache, "smoke") as folder:
        spec = _spec(ctx, framework, image, folder)
        code, stdout, stderr = run_container(ctx, spec, framework.smoke_test.timeout)
    with log.open("a", encoding="utf-8") as out:
        out.write(f"smoke test: {' '.join(spec.argv)}\n{stdout}{stderr}smoke test: exit code {code}\n")
    if code != 0:
        lines = [line for line in (stdout + stderr).splitlines() if line.strip()]
        raise ImageError(
            f"the smoke test of {recipe.name} failed with exit code {code}",
            where=str(recipe.file),
            why="\n".join(lines[-_LAST_LINES:]) or "It printed nothing.",
            hint=f"The whole log: {log}",
        )


def _spec(ctx: ImageContext, framework: Framework, image: str, folder: Path) -> ContainerSpec:
    limits = Limits().model_copy(update=framework.limits.model_dump(exclude_none=True))
    places = {WORKSPACE_DIR: folder / "workspace", STATE_DIR: folder / "state", OUT_DIR: folder / "out"}
    places |= {path: folder / "writable" / PurePosixPath(path).relative_to("/") for path in framework.writable}
    for path in (*places.values(), folder / "state" / "home"):
        path.mkdir(parents=True, exist_ok=True)
    me = owner.current()
    return ContainerSpec(
        name=f"{PROJECT}-smoke-{framework.name}-{me.pid}-{folder.name}",
        image=image,
        argv=framework.smoke_test.command,
        env={"HOME": f"{STATE_DIR}/home", "TZ": "UTC", "LC_ALL": "C.UTF-8", **framework.environment},
        user=ctx.user,
        workdir=WORKSPACE_DIR,
        mounts=tuple(Mount(source=str(path), target=target) for target, path in places.items()),
        resources=Resources(
            cpus=min(limits.cpus, float(ctx.engine.info().cpus)),
            memory=limits.memory,
            swap=limits.swap,
            pids=limits.pids,
            tmp=limits.tmp,
            shm=limits.shm,
            log=limits.log,
        ),
        labels={LABEL_KIND: "helper", LABEL_FRAMEWORK: framework.name, **me.labels()},
    )
