"""Images built on a real engine."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.images import Project

from runner.images import cas, lockfile, pipeline, recipe, records, saved
from runner.images.check import check
from runner.images.layers import Tree, read_layer
from runner.images.models import BuiltImage
from runner.names import LABEL_FRAMEWORK, LABEL_INPUTS, LABEL_KIND

pytestmark = pytest.mark.engine


def _saved(project: Project, image: BuiltImage) -> Iterator[saved.Saved]:
    with cas.scratch(project.ctx.cache, "test") as folder:
        with (folder / "saved.tar").open("wb") as out:
            out.writelines(project.ctx.engine.images.transfer(save=image.engine_id))
        yield saved.read_saved(folder / "saved.tar")


def _tree(project: Project, image: BuiltImage, *, first: int = 0) -> Tree:
    tree: Tree = {}
    for archive in _saved(project, image):
        for layer in archive.layers[first:]:
            read_layer(tree, layer.file, layer.offset)
    return tree


def test_the_base_has_what_a_step_stands_on(project: Project) -> None:
    """One layer with Python, certificates and all mount points, without pip, logs or build inputs."""
    image = project.ensure("base")
    for archive in _saved(project, image):
        assert len(archive.layers) == 1
        assert archive.config["config"]["WorkingDir"] == "/workspace"
    tree = _tree(project, image)
    wanted = {"usr/bin/python3.11", "etc/ssl/certs/ca-certificates.crt", "workspace", "state", "in", "out"}
    assert wanted | {"run/gateway", "opt/framework", "tmp", "usr/bin/dpkg"} <= set(tree)
    assert tree["tmp"].entry.mode == 0o1777
    unwanted = ("artifacts", "var/log/", "etc/hostname", "usr/bin/pip", "usr/bin/gcc", "usr/share/man/man1/ls")
    assert not [path for path in tree if path.startswith(unwanted)]
    assert {node.entry.mtime for node in tree.values()} == {_date(project)}


def _date(project: Project) -> int:
    return lockfile.read(recipe.load(project.ctx.images, "base")).epoch


def test_a_local_framework_becomes_one_layer_on_the_base(project: Project) -> None:
    """Program and adapter are in; read-me and answers are not; the smoke test ran as a step would."""
    project.add("local")
    pipeline.lock(project.ctx, ["local"])
    image = project.ensure("local")
    assert image.built
    for archive in _saved(project, image):
        assert len(archive.layers) == 2
    above = set(_tree(project, image, first=1))
    assert {"opt/framework/adapter.sh", "opt/framework/source/bin/hello"} <= above
    assert not [path for path in above if "README" in path or "answers" in path or path.startswith("artifacts")]
    info = project.ctx.engine.images.inspect(image.tag)
    assert info is not None
    assert info.config_digest == image.id
    labels = {name: info.labels[name] for name in (LABEL_KIND, LABEL_FRAMEWORK, LABEL_INPUTS)}
    assert labels == {LABEL_KIND: "image", LABEL_FRAMEWORK: "local", LABEL_INPUTS: image.inputs}
    log = next((project.ctx.cache / "logs").glob(f"local-{image.inputs[:16]}.log")).read_text()
    assert log.endswith(f"smoke test: /opt/framework/source/bin/hello\n{os.getuid()}\nhello\nsmoke test: exit code 0\n")


def test_an_unchanged_image_costs_next_to_nothing(project: Project) -> None:
    """The second call builds nothing, says nothing and takes a fraction of a second of a core."""
    project.add("local")
    pipeline.lock(project.ctx, ["local"])
    first = project.ensure("local")
    project.said.clear()
    seconds = []
    for _ in range(3):
        started = time.process_time()
        second = project.ensure("local")
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.5
    assert (second.id, second.built, project.said) == (first.id, False, [])
    assert pipeline.known(project.ctx.images, project.ctx.cache, "local") == (first.tag, first.id)


def test_nothing_of_a_build_stays_behind(project: Project) -> None:
    """Neither intermediate images nor helper containers nor scratch folders outlive a build."""
    project.add("local")
    pipeline.lock(project.ctx, ["local"])
    project.ensure("local")
    mine = f"-{os.getpid()}"
    builds = [tag for image in project.ctx.engine.images.find({LABEL_KIND: "build"}) for tag in image.tags]
    assert not [tag for tag in builds if tag.endswith(mine)]
    helpers = project.ctx.engine.observer.find({LABEL_KIND: "helper"})
    assert not [state.name for state in helpers if f"-{os.getpid()}-" in state.name]


@pytest.fixture
def odd_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another umask, time zone and locale than usual."""
    old = os.umask(0o077)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    time.tzset()
    yield
    os.umask(old)
    monkeypatch.undo()
    time.tzset()


def test_the_same_lock_gives_the_same_image(project: Project, private: Project, odd_surroundings: None) -> None:
    """Another cache, umask, time zone, locale, file times and order of files give the same id, base included."""
    lock = project.add("local") / "requirements.lock"
    pipeline.lock(project.ctx, ["local"])
    first = project.ensure("local")
    folder = private.add("local")
    (folder / "requirements.lock").write_bytes(lock.read_bytes())
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    project.ctx.engine.images.remove(first.tag)
    again = private.ensure("local")
    assert again.built
    assert again.id == first.id


def test_check_builds_again_and_agrees(project: Project) -> None:
    """A rebuild of base and framework from the same lock is the same image, and check says so."""
    project.add("local")
    pipeline.lock(project.ctx, ["local"])
    findings = check(project.ctx, ["base", "local"], rebuild=True)
    assert [finding.text for finding in findings if not finding.ok] == []
    assert sum("gave the same image" in finding.text for finding in findings) == 2


def test_check_names_the_first_file_that_differs(project: Project) -> None:
    """A Dockerfile that writes something new each time is found out, with path and kind of difference."""
    dockerfile = project.add("local") / "Dockerfile"
    with dockerfile.open("a") as out:
        out.write("RUN cat /proc/sys/kernel/random/uuid > /opt/framework/drifts\n")
    pipeline.lock(project.ctx, ["local"])
    project.ensure("local")
    (bad,) = (finding for finding in check(project.ctx, ["local"], rebuild=True) if not finding.ok)
    assert "opt/framework/drifts differs in content (sha256 " in bad.text


def test_two_at_once_build_once(project: Project) -> None:
    """Of two who want the same new image one builds, the other waits and takes it."""
    project.add("local")
    pipeline.lock(project.ctx, ["local"])
    results: list[BuiltImage] = []
    threads = [threading.Thread(target=lambda: results.append(project.ensure("local"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(image.built for image in results) == [False, True]
    assert results[0].id == results[1].id


def test_a_failing_smoke_test_keeps_the_image_from_being_used(project: Project) -> None:
    """The message carries the test's last lines and the log's place, and no tag is left to be used."""
    folder = project.add("smoke-fails")
    pipeline.lock(project.ctx, ["smoke-fails"])
    tag, _ = pipeline.known(project.ctx.images, project.ctx.cache, "smoke-fails")
    assert project.failure("smoke-fails") == (
        f"{folder}/framework.yaml: the smoke test of smoke-fails failed with exit code 3\n"
        "the module is missing\n"
        f"The whole log: {project.ctx.cache}/logs/smoke-fails-{tag.partition(':')[2]}.log"
    )
    assert project.ctx.engine.images.inspect(tag) is None


def test_a_changed_smoke_test_is_run_without_building(project: Project) -> None:
    """What tests an image is no part of it: the image stays, and is tried again."""
    recipe = project.add("local") / "framework.yaml"
    pipeline.lock(project.ctx, ["local"])
    first = project.ensure("local")
    recipe.write_text(recipe.read_text().replace("smoke_test: {command: [", "smoke_test: {command: [sh, -c, 'false', "))
    assert "the smoke test of local failed with exit code 1" in project.failure("local")
    recipe.write_text(recipe.read_text().replace("[sh, -c, 'false', ", "[sh, -c, 'true', "))
    second = project.ensure("local")
    assert (second.id, second.built) == (first.id, False)


def test_a_broken_recipe_does_not_stop_the_others(project: Project) -> None:
    """A recipe without lock is reported, and the image beside it is built."""
    project.add("unlocked")
    project.add("local")
    pipeline.lock(project.ctx, ["local"])
    results = pipeline.ensure(project.ctx, ["unlocked", "local"])
    assert isinstance(results["local"], BuiltImage)
    assert str(results["unlocked"]).endswith("Run: runner images lock unlocked")


def test_a_failing_build_names_its_log(project: Project) -> None:
    """A Dockerfile that fails gives the builder's last lines and the whole log's place."""
    with (project.add("local") / "Dockerfile").open("a") as out:
        out.write("RUN echo something is wrong && exit 7\n")
    pipeline.lock(project.ctx, ["local"])
    text = project.failure("local")
    assert "something is wrong" in text
    log = Path(text.rpartition("The whole log: ")[2])
    assert "something is wrong" in log.read_text()


def test_the_builder_has_no_network(project: Project) -> None:
    """What a Dockerfile runs sees the loopback device alone."""
    with (project.add("local") / "Dockerfile").open("a") as out:
        out.write('RUN test "$(ls /sys/class/net)" = lo\n')
    pipeline.lock(project.ctx, ["local"])
    assert project.ensure("local").built


def test_a_replaced_image_can_be_listed_and_removed(project: Project) -> None:
    """After a change the old image is superseded; removing it leaves the new one."""
    folder = project.add("local")
    pipeline.lock(project.ctx, ["local"])
    old = project.ensure("local")
    (folder / "adapter.sh").write_text("echo hello again\n")
    new = project.ensure("local")
    assert new.tag != old.tag
    found = [record for record in pipeline.superseded(project.ctx) if record.tag == old.tag]
    assert pipeline.remove(project.ctx, found) == [old.tag]
    assert project.ctx.engine.images.inspect(old.tag) is None
    assert project.ctx.engine.images.inspect(new.tag) is not None


def test_the_record_tells_what_an_image_is_made_of(project: Project) -> None:
    """Tag, id, lock, base, sizes and log stand in one file per image."""
    project.add("local")
    pipeline.lock(project.ctx, ["local"])
    image = project.ensure("local")
    record = records.read(project.ctx.cache, image.inputs)
    assert record is not None
    base = project.ensure("base")
    assert (record.id, record.tag, record.base, record.artifacts) == (image.id, image.tag, base.id, 0)
    assert record.log == f"logs/local-{image.inputs[:16]}.log"
    assert json.loads(records.path_of(project.ctx.cache, image.inputs).read_text())["substitutions"] == {}


def test_the_listing_tells_how_far_each_recipe_is(project: Project) -> None:
    """Locked, built and stale are told apart."""
    recipe = project.add("local") / "framework.yaml"
    project.add("unlocked")
    pipeline.lock(project.ctx, ["local"])
    project.ensure("local")
    rows = {status.name: status for status in pipeline.listing(project.ctx)}
    assert (rows["local"].locked, rows["local"].built, rows["local"].stale) == (True, True, "")
    assert (rows["unlocked"].locked, rows["unlocked"].built, rows["unlocked"].artifacts) == (False, False, None)
    recipe.write_text(recipe.read_text().replace("path: program", "path: program/bin"))
    rows = {status.name: status for status in pipeline.listing(project.ctx)}
    assert rows["local"].stale == "source"
    assert "Changed since it was made: source." in project.failure("local")
