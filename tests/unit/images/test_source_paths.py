"""A part of a repository as the source, and distributions that are given to the Dockerfile alone."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.images import Project

from runner.errors import ImageError
from runner.images import cas, git, lockfile, recipe
from runner.images.lockfile import Artifact, Lock
from runner.images.models import ImageContext
from runner.images.stages import Ground, material_of
from runner.spec.models import GitSource

IDENTITY = ("-c", "user.name=x", "-c", "user.email=x@localhost")
FILES = {"src/main.py": "main", "src/deep/more.py": "more", "LICENSE": "free", "pictures/large.png": "large"}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one commit, from which the content of its picture has been lost."""
    folder = tmp_path / "origin"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    _git(folder, "init", "--quiet")
    _git(folder, "config", "uploadpack.allowFilter", "true")
    _git(folder, "add", ".")
    _git(folder, *IDENTITY, "commit", "--quiet", "--message", "one")
    lost = _git(folder, "rev-parse", "HEAD:pictures/large.png")
    (folder / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    return folder


@pytest.fixture
def ctx(make_project: Callable[[str], Project]) -> ImageContext:
    """A context whose environment has a git."""
    return replace(make_project("project").ctx, environment={"PATH": os.environ["PATH"]})


def _fetch(ctx: ImageContext, repository: Path, *paths: str) -> dict[str, str]:
    """Fetch the commit's tree, and return name and content of every file in it."""
    source = GitSource(git=repository.as_uri(), commit=_git(repository, "rev-parse", "HEAD"), paths=paths)
    artifact = git.fetch(ctx, source, name="part", folder=repository, where="framework.yaml")
    with tarfile.open(cas.path_of(ctx.cache, artifact.sha256)) as archive:
        members = [member for member in archive if member.isfile()]
        return {one.name: (archive.extractfile(one) or pytest.fail(one.name)).read().decode() for one in members}


@pytest.mark.processes
def test_only_what_is_wanted_is_fetched(ctx: ImageContext, repository: Path) -> None:
    """Folders and files that are named make the source; the others' content is not even asked for, as it is lost."""
    assert _fetch(ctx, repository, "src", "LICENSE") == {n: t for n, t in FILES.items() if n != "pictures/large.png"}
    with pytest.raises(ImageError, match="git fetch failed"):
        _fetch(ctx, repository)


@pytest.mark.processes
def test_a_server_that_sends_all_will_do(ctx: ImageContext, repository: Path) -> None:
    """One that cannot leave contents out sends everything; the source is the same."""
    (repository / "pictures" / "large.png").write_text("large")
    _git(repository, "add", "pictures")
    _git(repository, "config", "uploadpack.allowFilter", "false")
    assert _fetch(ctx, repository, "LICENSE") == {"LICENSE": "free"}


@pytest.mark.processes
def test_a_path_that_is_not_there_is_named(ctx: ImageContext, repository: Path) -> None:
    """A misspelt path is an error, also one that is only the beginning of a name."""
    with pytest.raises(ImageError, match=r"has no sr\n"):
        _fetch(ctx, repository, "src", "sr")


def test_data_is_part_of_the_locks_inputs(make_project: Callable[[str], Project]) -> None:
    """A lock is stale once data.in changes, and one of a recipe without it has no such input; it is not copied."""
    project = make_project("project")
    folder = project.ctx.images / "local"
    before = recipe.lock_inputs(recipe.load(project.ctx.images, "local"), None)
    files = recipe.recipe_files(recipe.load(project.ctx.images, "local"))
    (folder / "data.in").write_text("numbers==1.0\n")
    after = recipe.lock_inputs(recipe.load(project.ctx.images, "local"), None)
    assert "data" not in before
    assert {key: after[key] for key in before} == before
    assert after["data"] == recipe.sha256(folder / "data.in")
    assert recipe.recipe_files(recipe.load(project.ctx.images, "local")) == files


def test_data_is_given_and_not_installed(make_project: Callable[[str], Project], tmp_path: Path) -> None:
    """The Dockerfile finds the file among the artifacts' data; it is on no list of what is installed."""
    project = make_project("project")
    one = recipe.load(project.ctx.images, "local")
    wheel = tmp_path / "numbers-1.0-py3-none-any.whl"
    wheel.write_bytes(b"numbers")
    sha256, size = cas.add(project.ctx.cache, wheel)
    artifact = Artifact(
        kind="wheel", name="numbers", version="1.0", file="numbers.whl", sha256=sha256, size=size, use="data"
    )
    lock: Lock = lockfile.read(one).model_copy(update={"artifacts": (artifact,)})
    material = material_of(Ground(project.ctx), one, lock)
    assert material.files == {"data/numbers.whl": cas.path_of(project.ctx.cache, sha256)}
    assert material.wheels == ()
