"""Recipes and the hash of what goes into an image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.images import pipeline, recipe

CASES = Path(__file__).parents[2] / "cases" / "images"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A project's images folder with a base that is enough for hashing, and one framework with a lock."""
    base = tmp_path / "images" / "base"
    (base / "rootfs" / "etc").mkdir(parents=True)
    (base / "rootfs" / "etc" / "motd").write_text("hello\n")
    (base / "base.yaml").write_text("suite: bookworm\npackages: [bash]\n")
    (base / "install.py").write_text("pass\n")
    (base / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (base / "requirements.lock").write_text("version: 1\n")
    shutil.copytree(CASES / "local", tmp_path / "images" / "local")
    (tmp_path / "images" / "local" / "requirements.lock").write_text("version: 1\n")
    return tmp_path / "images"


def _hash(images: Path) -> str:
    return pipeline.inputs(images / "local", pipeline.inputs(images / "base", ""))


def _append(name: str) -> Callable[[Path], None]:
    def change(images: Path) -> None:
        with (images / name).open("a") as file:
            file.write("\n# changed\n")

    return change


@pytest.mark.parametrize(
    "change",
    [
        _append("local/requirements.lock"),
        _append("local/Dockerfile"),
        _append("local/adapter.sh"),
        _append("local/program/bin/hello"),
        _append("base/requirements.lock"),
        _append("base/install.py"),
        _append("base/rootfs/etc/motd"),
        lambda images: (images / "local" / "adapter.sh").chmod(0o755),
        lambda images: (images / "local" / "program" / "more").symlink_to("bin/hello"),
        lambda images: (images / "local" / "adapter.sh").rename(images / "local" / "adapter2.sh"),
        lambda images: _replace(images / "local" / "framework.yaml", "path: program", "path: program/bin"),
    ],
)
def test_whatever_goes_in_changes_the_hash(images: Path, change: Callable[[Path], None]) -> None:
    """Recipe, lock, copied files and the base all decide about the tag."""
    before = _hash(images)
    change(images)
    assert _hash(images) != before


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "change",
    [
        _append("local/README.md"),
        _append("local/answers/hello.yaml"),
        lambda images: _replace(images / "local" / "framework.yaml", "title: A program", "title: Some program"),
        lambda images: os.utime(images / "local" / "adapter.sh", (1, 1)),
        lambda images: (images / "local" / "adapter.sh").chmod(0o600),
        lambda images: (images / "local" / "__pycache__").mkdir(),
        lambda images: (images / "local" / ".adapter.sh.swp").write_text("x"),
    ],
)
def test_what_stays_out_leaves_the_hash(images: Path, change: Callable[[Path], None]) -> None:
    """Read-me, answers, descriptions, times, umask and editors' leftovers cost no build."""
    before = _hash(images)
    change(images)
    assert _hash(images) == before


def test_only_what_belongs_into_the_image_is_copied(images: Path) -> None:
    """The adapter is copied beside the source; description, lock, read-me and answers are not."""
    found = recipe.load(images, "local")
    assert [file.path for file in recipe.recipe_files(found)] == ["adapter.sh"]
    assert [(file.path, file.executable) for file in recipe.local_source(found)] == [("bin/hello", True)]


def test_a_recipe_without_lock_has_no_hash(images: Path) -> None:
    """What is not locked cannot be named by its content."""
    (images / "local" / "requirements.lock").unlink()
    with pytest.raises(ConfigError, match="local has no lock"):
        _hash(images)


def test_the_tag_is_known_without_an_engine(images: Path, tmp_path: Path) -> None:
    """A dry run learns the tag from files alone, and no id where none was ever built."""
    assert pipeline.known(images, tmp_path, "local") == (f"codegen-runner/local:{_hash(images)[:16]}", None)


def test_a_misspelt_name_gets_the_nearest(images: Path) -> None:
    """An unknown framework is answered with those that exist."""
    with pytest.raises(ConfigError) as caught:
        recipe.load(images, "locla")
    assert str(caught.value) == "there is no recipe locla\nRecipes: local.\nDid you mean local?"


def test_a_source_outside_its_recipe_is_refused(images: Path) -> None:
    """A local source cannot reach files of the rest of the machine, not even by a link."""
    (images / "local" / "out").symlink_to("/usr")
    _replace(images / "local" / "framework.yaml", "path: program", "path: out")
    with pytest.raises(ConfigError, match=r"source path out cannot be used\nIt leaves the recipe's folder\."):
        _hash(images)


def test_a_short_commit_is_refused(images: Path) -> None:
    """A commit that is not written in full could mean another one tomorrow."""
    _replace(images / "local" / "framework.yaml", "{path: program}", "{git: 'file:///x', commit: 1a2b3c4}")
    with pytest.raises(ConfigError, match=r"framework\.yaml:3: .*1a2b3c4.*full commit id"):
        recipe.load(images, "local")


def test_a_base_that_is_missing_is_no_choice(images: Path) -> None:
    """A project without the base image's recipe is told what file makes one, not to take what it has not."""
    shutil.rmtree(images / "base", ignore_errors=True)
    with pytest.raises(ConfigError) as caught:
        recipe.load(images, "base")
    assert str(caught.value) == (
        "there is no recipe base\nRecipes: local.\nA recipe is a folder images/base/ with base.yaml."
    )
