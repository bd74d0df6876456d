"""A project with a copy of the real base, the user's real cache, and a private cache to spoil."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.images import CASES, ROOT, Project

from runner.engine.docker import connect
from runner.engine.protocol import Engine
from runner.errors import ConfigError
from runner.events import Event, Notice
from runner.images import cas, lockfile, pipeline, recipe
from runner.images.lockfile import Lock
from runner.images.models import ImageContext
from runner.names import PROJECT


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Connect to the engine of this machine."""
    with connect(os.environ) as connected:
        yield connected


@pytest.fixture(scope="session")
def shared_cache() -> Path:
    """The cache that the commands use, so that what was fetched once is fetched once."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / PROJECT


@pytest.fixture
def make_project(engine: Engine, tmp_path: Path) -> Iterator[Callable[[Path], Project]]:
    """Make projects over a given cache; images of theirs are removed in the end, the base's stay."""
    made: list[Project] = []

    def make(cache: Path) -> Project:
        images = tmp_path / f"project{len(made)}" / "images"
        shutil.copytree(ROOT / "images" / "base", images / "base", symlinks=True)
        said: list[str] = []

        def hear(event: Event) -> None:
            if isinstance(event, Notice):
                said.append(event.text)

        ctx = ImageContext(
            images=images,
            cache=cache,
            engine=engine,
            environment=os.environ,
            events=hear,
            user=f"{os.getuid()}:{os.getgid()}",
        )
        made.append(Project(ctx=ctx, said=said))
        return made[-1]

    yield make
    for project in made:
        for tag in {status.tag for status in pipeline.listing(project.ctx) if status.name in _case_names()}:
            if tag is not None:
                engine.images.remove(tag)
        with contextlib.suppress(ConfigError):  # a test may have spoilt the base
            pipeline.remove(project.ctx, (one for one in pipeline.superseded(project.ctx) if one.name in _case_names()))


def _case_names() -> set[str]:
    return {path.name for path in CASES.iterdir()}


@pytest.fixture
def project(make_project: Callable[[Path], Project], shared_cache: Path) -> Project:
    """A project over the shared cache, its base ready."""
    project = make_project(shared_cache)
    project.ensure("base")
    return project


@pytest.fixture
def private(project: Project, make_project: Callable[[Path], Project], tmp_path: Path) -> Project:
    """A project over a cache of its own, in which only the base's artifacts lie."""
    own = make_project(tmp_path / "cache")
    for artifact in _lock_of(project).artifacts:
        source = cas.path_of(project.ctx.cache, artifact.sha256)
        target = cas.path_of(own.ctx.cache, artifact.sha256)
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return own


def _lock_of(project: Project) -> Lock:
    return lockfile.read(recipe.load(project.ctx.images, "base"))
