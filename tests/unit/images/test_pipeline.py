"""Stages over many recipes, on an engine in memory."""

from __future__ import annotations

import contextlib
import io
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.images import Project

from runner.cli.main import main
from runner.engine import owner
from runner.errors import ImageError
from runner.images import build, cas, lockfile, locks, pipeline, recipe, records
from runner.images.lockfile import Artifact
from runner.names import LABEL_INPUTS, LABEL_KIND
from runner.testing import Box, FakeEngine

DEB = Artifact(kind="deb", name="a", version="1", file="a_1.deb", sha256="0" * 64, size=3, path="pool/a/a_1.deb")


def _replace_lock(project: Project, name: str, *artifacts: Artifact) -> None:
    one = recipe.load(project.ctx.images, name)
    lock = lockfile.read(one).model_copy(update={"artifacts": artifacts})
    lockfile.write(lock, one.lock, name)


def _twin(project: Project) -> None:
    folder = Path(shutil.copytree(project.ctx.images / "local", project.ctx.images / "twin"))
    text = (folder / "framework.yaml").read_text(encoding="utf-8")
    (folder / "framework.yaml").write_text(text.replace("name: local", "name: twin"), encoding="utf-8")


def test_everything_is_locked_builders_included(project: Project) -> None:
    """Without names the base, then the builders, then the frameworks get new locks."""
    (project.ctx.images / "builder" / "compile").mkdir(parents=True)
    file = project.ctx.images / "builder" / "compile" / "builder.yaml"
    file.write_text("suite: bookworm\npackages: []\n", encoding="utf-8")
    assert list(pipeline.lock(project.ctx, [])) == ["base", "builder/compile", "local"]
    assert (file.parent / "requirements.lock").is_file()


def test_a_failing_base_fails_once(project: Project) -> None:
    """A base that cannot be fetched is tried for the first framework only; the others point to that failure."""
    _twin(project)
    _replace_lock(project, "base", DEB)
    results = pipeline.ensure(project.ctx, ["local", "twin"])
    first, second = results["local"], results["twin"]
    assert isinstance(first, ImageError)
    assert isinstance(second, ImageError)
    assert first.what == "no mirror of Debian bookworm is known on this machine"
    assert str(second) == f"twin is not made, for the reason told of local: {first.what}"
    assert [text for text in project.said if text.startswith("base: ")] == ["base: fetching 1 Debian packages (0.0 MB)"]


def test_a_base_that_cannot_be_fetched_is_fetched_once(project: Project) -> None:
    """A framework with system packages needs the base's artifacts, and does not ask for them a second time."""
    _replace_lock(project, "base", DEB)
    file = project.ctx.images / "local" / "framework.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "system_packages: [git]\n", encoding="utf-8")
    local = recipe.load(project.ctx.images, "local")
    base = lockfile.read(recipe.load(project.ctx.images, "base"))
    inputs = recipe.lock_inputs(local, base)
    lockfile.write(lockfile.make(now=0, python="3.11", inputs=inputs, artifacts=()), local.lock, "local")
    results = pipeline.fetch(project.ctx, [])
    assert str(results["local"]).startswith("local is not made, for the reason told of base: ")
    assert project.said == ["base: fetching 1 Debian packages (0.0 MB)"]


def test_the_listing_counts_what_stands_in_for_a_lock(project: Project, tmp_path: Path) -> None:
    """After packages were resolved anew, those are what has to be in the cache."""
    (tmp_path / "file").write_bytes(b"abc")
    sha256, size = cas.add(project.ctx.cache, tmp_path / "file")
    _replace_lock(project, "base", DEB)
    base = recipe.load(project.ctx.images, "base")
    assert pipeline.listing(project.ctx)[0].missing == 1
    there = lockfile.read(base).model_copy(update={"artifacts": (DEB.model_copy(update={"sha256": sha256}),)})
    committed, _ = cas.sha256_file(base.lock)
    lockfile.write(there, project.ctx.cache / "relocked" / f"{committed}.lock", "base")
    row = pipeline.listing(project.ctx)[0]
    assert (row.artifacts, row.artifacts_bytes, row.missing) == (1, size, 0)


@pytest.fixture
def passing(fake: FakeEngine) -> FakeEngine:
    """Let smoke tests pass."""

    def program(box: Box) -> int:
        return 0

    fake.register(program)
    return fake


def test_who_waits_for_a_build_takes_its_image(
    project: Project, passing: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second build says once what it waits for, then finds the image and does not build it."""
    monkeypatch.setattr(locks, "shared_folder", lambda: tmp_path)
    tag, _ = pipeline.known(project.ctx.images, project.ctx.cache, "local")
    inputs = pipeline.inputs(project.ctx.images / "local", pipeline.inputs(project.ctx.images / "base", ""))
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(project.ensure("local").built))
    with locks.building(tag, print):
        thread.start()
        until = time.monotonic() + 60
        while not project.said and time.monotonic() < until:
            time.sleep(0.01)
        base = recipe.load(project.ctx.images, "base")
        base_inputs = pipeline.inputs(project.ctx.images / "base", "")
        passing.add_image(base.tag(base_inputs), {LABEL_INPUTS: base_inputs})
        passing.add_image(tag, {LABEL_INPUTS: inputs})
    thread.join(60)
    me = owner.current().pid
    assert results == [False]
    assert project.said == [f"local: another build of it is under way (process {me}); waiting"]
    record = records.read(project.ctx.cache, inputs)
    assert record is not None
    assert (record.built_at, record.projects) == (None, (str(project.ctx.images),))


def test_what_dead_builders_left_is_removed_before_a_build(project: Project, fake: FakeEngine) -> None:
    """Intermediate images of a builder that has ended go, with or without a tag; those of one at work stay."""
    me = owner.current()
    dead = replace(me, started=1)
    fake.add_image("codegen-runner/build:1-1", {LABEL_KIND: "build", **dead.labels()})
    alive = fake.add_image("codegen-runner/build:2-2", {LABEL_KIND: "build", **me.labels()})
    lost = fake.add_image("codegen-runner/build:3-3", {LABEL_KIND: "build", **dead.labels()})
    fake.add_image("codegen-runner/build:3-3", {LABEL_KIND: "image"})
    assert build.sweep(project.ctx) == [lost, "codegen-runner/build:1-1"]
    assert [image.id for image in fake.images.find({LABEL_KIND: "build"})] == [alive]


def test_a_lock_is_told_of_once(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`runner images lock NAME` says that it locks and, once, what it locked."""

    @contextlib.contextmanager
    def connect(environment: object) -> Iterator[FakeEngine]:
        yield FakeEngine()

    monkeypatch.setattr("runner.engine.docker.connect", connect)
    root = project.ctx.images.parent
    (root / "config").mkdir()
    out, err = io.StringIO(), io.StringIO()
    environment = {"RUNNER_CACHE": str(tmp_path / "cache"), "PATH": ""}
    assert main(["-C", str(root), "images", "lock", "local"], environment=environment, out=out, err=err) == 0
    assert (out.getvalue() + err.getvalue()).splitlines() == ["local: locking", "local: locked 0 artifacts"]
