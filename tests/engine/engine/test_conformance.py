"""Docker does what every engine must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engine.cgroup import CGROUP_ROOT, folders
from runner.engine.protocol import Engine
from runner.testing.conformance import CHECKS
from runner.testing.lab import LABEL, Lab, laboratory

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_docker(check: Callable[[Lab], None], engine: Engine, engine_image: str, tmp_path: Path) -> None:
    """Docker passes the same checks as the fake engine, and nothing of them is left in it."""
    with laboratory(engine, engine_image, tmp_path, "1000:1000") as lab:
        check(lab)
    assert not engine.observer.find({LABEL: lab.tag})
    assert not [folder for parent in lab.parents for folder in folders(CGROUP_ROOT, parent)]
