"""A world for every test of the history."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.history_world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return an empty workspace without a history."""
    return make_world(tmp_path / "run")
