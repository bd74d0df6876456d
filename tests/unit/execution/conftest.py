"""A world in memory for runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a fake engine and gateway, and a folder of runs, in which steps do what they are asked."""
    return World(output=tmp_path / "runs", sockets=tmp_path / "sockets")
