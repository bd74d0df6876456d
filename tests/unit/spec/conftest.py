"""A project that is fine, to be loaded as it is or after one change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runner.spec.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a writable copy of the project under tests/cases/base."""
    shutil.copytree(Path(__file__).parents[2] / "cases" / "base", tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)
