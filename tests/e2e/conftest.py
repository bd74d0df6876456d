"""The command line on a project of its own."""

from __future__ import annotations

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
