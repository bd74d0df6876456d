"""A project whose image stages run on an engine in memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.images import CASES, Project

from runner.events import Event, Notice
from runner.images import lockfile, recipe
from runner.images.models import ImageContext
from runner.testing import FakeEngine

BASE = {
    "base.yaml": "suite: bookworm\npackages: []\n",
    "install.py": "pass\n",
    "Dockerfile": "ARG BASE\nFROM ${BASE}\n",
}


@pytest.fixture
def fake() -> FakeEngine:
    """Return an engine in memory."""
    return FakeEngine()


@pytest.fixture
def make_project(tmp_path: Path, fake: FakeEngine) -> Callable[[str], Project]:
    """Make projects that share a cache: a base without packages, and the case `local`, both locked."""

    def make(name: str) -> Project:
        said: list[str] = []

        def hear(event: Event) -> None:
            if isinstance(event, Notice):
                said.append(event.text)

        images = tmp_path / name / "images"
        (images / "base").mkdir(parents=True)
        for file, text in BASE.items():
            (images / "base" / file).write_text(text, encoding="utf-8")
        project = Project(
            ctx=ImageContext(
                images=images,
                cache=tmp_path / "cache",
                engine=fake,
                environment={"PATH": ""},
                events=hear,
                user=f"{os.getuid()}:{os.getgid()}",
            ),
            said=said,
        )
        lock(images, "base")
        shutil.copytree(CASES / "local", images / "local")
        lock(images, "local")
        return project

    return make


@pytest.fixture
def project(make_project: Callable[[str], Project]) -> Project:
    """Return a project of its own."""
    return make_project("project")


def lock(images: Path, name: str, *artifacts: lockfile.Artifact) -> None:
    """Write a fresh lock of a recipe."""
    one = recipe.load(images, name)
    base = None if name == "base" else lockfile.read(recipe.load(images, "base"))
    inputs = recipe.lock_inputs(one, base)
    lockfile.write(lockfile.make(now=0, python="3.11", inputs=inputs, artifacts=artifacts), one.lock, name)
