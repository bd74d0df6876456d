"""The command line on a project of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.project import Project, copy_project


@pytest.fixture
def probe(tmp_path: Path) -> Project:
    """A project whose only framework does what its prompt says."""
    return copy_project("probe", tmp_path / "probe")


@pytest.fixture
def talk(tmp_path: Path) -> Project:
    """A project whose only framework asks the scripted model."""
    return copy_project("talk", tmp_path / "talk")


@pytest.fixture(scope="session")
def chain_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a run of four steps, of which the third failed; it is there to be copied."""
    project = copy_project("probe", tmp_path_factory.mktemp("chain") / "probe")
    done = project.run("go", "--scenario", "chain", "--repetitions", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    return project


@pytest.fixture
def chain(chain_once: Project, tmp_path: Path) -> Project:
    """A project of a test's own with a run of four steps, of which the third failed."""
    return Project(Path(shutil.copytree(chain_once.root, tmp_path / "chain", symlinks=True)))
