"""The fake engine does what every engine must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.testing import FakeEngine
from runner.testing.conformance import CHECKS
from runner.testing.deeds import DEEDS
from runner.testing.lab import Lab, laboratory


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_fake_engine(check: Callable[[Lab], None], tmp_path: Path) -> None:
    """The fake engine passes the same checks as a real one."""
    engine = FakeEngine()
    for deed in DEEDS.values():
        engine.register(deed.program, argv=deed.argv)
    image = engine.add_image("conformance:1")
    with laboratory(engine, image, tmp_path, "1000:1000") as lab:
        check(lab)
    assert not engine.cgroup_parents
    assert not engine.specs
