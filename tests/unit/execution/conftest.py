"""A world in memory for runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_world import World
from support.lives import Lives
from support.step_bench import Bench, make_bench

from runner.engine.owner import Owner, current


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a fake engine and gateway, and a folder of runs, in which steps do what they are asked."""
    return World(output=tmp_path / "runs", sockets=tmp_path / "sockets")


@pytest.fixture
def bench(world: World) -> Bench:
    """Return a run whose first step can be performed alone."""
    return make_bench(world)


@pytest.fixture
def dead() -> Owner:
    """Return a runner of this user that has ended: its process id is ours, its start is not."""
    return replace(current(), started=1)


@pytest.fixture
def lives(world: World, dead: Owner) -> Iterator[Lives]:
    """The run of two steps."""
    lives = Lives(world, dead)
    yield lives
    lives.end()
