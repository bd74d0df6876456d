"""A real engine, and an image to run in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.images import base_image

from runner.engine.docker import connect
from runner.engine.protocol import Engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Connect to the engine of this machine."""
    with connect(os.environ) as connected:
        yield connected


@pytest.fixture(scope="module")
def engine_image(engine: Engine) -> str:
    """Id of an image with `sh`, coreutils and `python3`."""
    return base_image(engine)
