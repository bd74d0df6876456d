"""The suite takes as long as it is given: without CHAOS_SECONDS none of it is collected."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from chaos.places import World, end_all, world
from support.own_engine import own_engine

collect_ignore_glob = [] if "CHAOS_SECONDS" in os.environ else ["test_*.py"]


@pytest.fixture(scope="session")
def arena() -> Iterator[World]:
    """Lend an engine of its own with a proxy in front, the experiment's images in it, and a provider."""
    with contextlib.ExitStack() as last, own_engine() as engine:
        # The keepers of containers outlive an engine that is killed at a bad moment.
        last.callback(end_all, engine.folder)
        with world(engine) as made:
            yield made
