"""What containers reserve that are on no ticket."""

from __future__ import annotations

import pytest

from runner.engine.protocol import ContainerSpec, Resources
from runner.engine.unlisted import Unlisted
from runner.names import LABEL_CPUS, LABEL_KIND, LABEL_MEMORY
from runner.testing import Box, FakeEngine

GIB = 1024**3
LIMITS = Resources(cpus=1.0, memory=GIB, swap=0, pids=10, tmp=1, shm=1, log=1)


@pytest.mark.parametrize("kind", ["attempt", "check", "command", "shell"])
def test_whatever_kind_it_is_counts(kind: str) -> None:
    """A container that a dead program left holds what its labels say, whatever it was for, unless it is on a ticket."""
    engine = FakeEngine()
    image = engine.add_image("demo")
    engine.register(_sleep)
    for name in ("mine", "theirs"):
        spec = ContainerSpec(
            name=name,
            image=image,
            argv=("x",),
            env={},
            user="1:1",
            workdir="/",
            mounts=(),
            resources=LIMITS,
            labels={LABEL_KIND: kind, LABEL_CPUS: "1.5", LABEL_MEMORY: str(GIB)},
        )
        engine.containers.start(engine.containers.create(spec))
    found = Unlisted(engine)(("mine",))
    assert (found.cpus, found.memory) == (1.5, GIB)
    for name in ("mine", "theirs"):
        engine.kill(name)


def _sleep(box: Box) -> int:
    box.sleep(30)
    return 0
