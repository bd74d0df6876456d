"""Which images a project has left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.images import Project

from runner.engine import owner
from runner.engine.protocol import ContainerSpec, Resources
from runner.images import pipeline, recipe, records, smoke
from runner.names import LABEL_INPUTS, LABEL_KIND
from runner.testing import FakeEngine


def _built(project: Project, name: str = "local") -> records.ImageRecord:
    """Note that a project has built the image of a recipe, and put it into the engine."""
    base = pipeline.inputs(project.ctx.images / "base", "")
    inputs = base if name == "base" else pipeline.inputs(project.ctx.images / name, base)
    one = recipe.load(project.ctx.images, name)
    engine = project.ctx.engine
    assert isinstance(engine, FakeEngine)
    record = records.ImageRecord(
        name=name,
        tag=one.tag(inputs),
        id=engine.add_image(one.tag(inputs), {LABEL_INPUTS: inputs}),
        inputs=inputs,
        lock_sha256="0" * 64,
        lock_date="2026-01-01T00:00:00Z",
        artifacts=0,
        artifacts_bytes=0,
        base="bootstrapped",
        size=None,
        built_at="2026-01-01T00:00:00Z",
        engine_version="20.10",
        log=None,
        smoke_test=smoke.key(one),
        projects=(str(project.ctx.images),),
    )
    records.write(project.ctx.cache, record)
    return record


def _change(project: Project, name: str = "local") -> None:
    with (project.ctx.images / name / "Dockerfile").open("a") as file:
        file.write("# changed\n")


def _offered(project: Project) -> list[str]:
    return [record.tag for record in pipeline.superseded(project.ctx)]


def test_an_image_is_offered_once_its_recipe_has_changed(project: Project) -> None:
    """The image that the recipe leads to stays; the one it led to before goes, and its record with it."""
    old = _built(project)
    assert _offered(project) == []
    _change(project)
    new = _built(project)
    assert _offered(project) == [old.tag]
    assert pipeline.remove(project.ctx, [old]) == [old.tag]
    assert [one.tag for one in records.every(project.ctx.cache)] == [new.tag]


def test_images_of_another_project_are_not_offered(make_project: Callable[[str], Project]) -> None:
    """What another project built is its own, also when its recipes have changed."""
    one, other = make_project("one"), make_project("other")
    _change(other)
    _built(other)
    _change(other)
    assert _offered(one) == []
    assert len(_offered(other)) == 1


def test_an_image_that_another_project_uses_stays(make_project: Callable[[str], Project]) -> None:
    """Two projects with one recipe share its image: it goes when neither leads to it any more."""
    one, other = make_project("one"), make_project("other")
    shared = _built(one)
    assert not other.ensure("local").built
    _change(one)
    assert _offered(one) == []
    _change(other)
    assert _offered(one) == [shared.tag]


def test_an_image_that_was_found_is_not_offered(project: Project) -> None:
    """An image that another user built is not ours to remove."""
    record = _built(project)
    records.write(project.ctx.cache, record.model_copy(update={"built_at": None}))
    _change(project)
    assert _offered(project) == []


@pytest.mark.parametrize("alive", [True, False])
def test_an_image_that_a_live_runners_container_uses_stays(project: Project, fake: FakeEngine, *, alive: bool) -> None:
    """A container in any state keeps its image, unless the runner that made it is dead."""
    old = _built(project)
    _change(project)
    maker = owner.current() if alive else replace(owner.current(), started=1)
    limits = Resources(cpus=1, memory=1, swap=0, pids=1, tmp=1, shm=1, log=1)
    fake.containers.create(
        ContainerSpec(
            name="c",
            image=old.id,
            argv=("true",),
            env={},
            user="0:0",
            workdir="/",
            mounts=(),
            resources=limits,
            labels={LABEL_KIND: "attempt", **maker.labels()},
        )
    )
    assert _offered(project) == ([] if alive else [old.tag])


def test_a_broken_recipe_keeps_its_own_images_only(project: Project) -> None:
    """Images of a recipe that cannot be read stay, those of the others are offered as ever."""
    _built(project)
    (project.ctx.images / "twin").mkdir()
    for path in (project.ctx.images / "local").iterdir():
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace("name: local", "name: twin")
            (project.ctx.images / "twin" / path.name).write_text(text, encoding="utf-8")
    (project.ctx.images / "twin" / "program").mkdir()
    twin = _built(project, "twin")
    _change(project, "twin")
    _change(project)
    (project.ctx.images / "local" / "framework.yaml").write_text("name: [", encoding="utf-8")
    assert _offered(project) == [twin.tag]


def test_a_broken_base_keeps_everything(project: Project) -> None:
    """Nothing can be ruled out where the base that all images stand on cannot be read."""
    _built(project)
    _change(project)
    (project.ctx.images / "base" / "base.yaml").write_text("suite: [", encoding="utf-8")
    assert _offered(project) == []


def test_a_project_that_is_gone_needs_nothing(make_project: Callable[[str], Project], tmp_path: Path) -> None:
    """A removed project keeps no image."""
    one, other = make_project("one"), make_project("other")
    shared = _built(one)
    other.ensure("local")
    (tmp_path / "other").rename(tmp_path / "elsewhere")
    _change(one)
    assert _offered(one) == [shared.tag]


def test_an_image_that_a_kept_run_was_made_with_stays(project: Project) -> None:
    """Though no recipe asks for it: the run could not be done again without it."""
    old = _built(project)
    _change(project)
    assert pipeline.superseded(project.ctx, keep={old.id}) == []
    assert pipeline.superseded(project.ctx, keep={"sha256:other"}) == [old]


def test_images_go_by_their_last_use(project: Project) -> None:
    """With an age a present recipe's image goes too, once it was not used for so long; what it stands on stays with it."""
    base, image = _built(project, "base"), _built(project)
    records.write(project.ctx.cache, image.model_copy(update={"base": base.id}))
    for record, used in ((base, 1000), (image, 3000)):
        os.utime(records.path_of(project.ctx.cache, record.inputs), (used, used))
    offered = {
        since: [one.name for one in pipeline.superseded(project.ctx, unused_since=since)]
        for since in (500.0, 2000.0, 4000.0)
    }
    assert offered == {500.0: [], 2000.0: [], 4000.0: ["base", "local"]}
