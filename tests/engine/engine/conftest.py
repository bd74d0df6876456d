"""A real engine, and an image to run in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from runner.engine.docker import connect
from runner.engine.protocol import Engine

ENGINE_IMAGE = "dev/base:latest"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Connect to the engine of this machine."""
    with connect(os.environ) as connected:
        yield connected


@pytest.fixture(scope="module")
def engine_image(engine: Engine) -> str:
    """Id of an image with `sh`, coreutils and `python3`."""
    image = engine.images.inspect(ENGINE_IMAGE)
    assert image is not None, f"{ENGINE_IMAGE} is not in the engine"
    return image.id
