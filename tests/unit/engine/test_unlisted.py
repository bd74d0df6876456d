"""What containers reserve that are on no ticket."""

from __future__ import annotations

import pytest

from runner.engine.protocol import ContainerSpec, Resources
from runner.engine.unlisted import Unlisted
from runner.names import LABEL_CPUS, LABEL_KIND, LABEL_MEMORY
from runner.testing import Box, FakeEngine

GIB = 1024**3
LIMITS = Resources(cpus=1.0, memory=GIB, swap=0, pids=10, tmp=1, shm=1, log=1)


def _hold(engine: FakeEngine, *names: str, kind: str = "attempt") -> None:
    image = engine.add_image("demo")
    engine.register(_sleep)
    for name in names:
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


@pytest.mark.parametrize("kind", ["attempt", "check", "command", "shell"])
def test_whatever_kind_it_is_counts(kind: str) -> None:
    """A container that a dead program left holds what its labels say, whatever it was for, unless it is on a ticket."""
    engine = FakeEngine()
    _hold(engine, "mine", "theirs", kind=kind)
    unlisted = Unlisted(engine)
    unlisted.refresh(lambda: ("mine",))
    found = unlisted(("mine",))
    assert (found.cpus, found.memory) == (1.5, GIB)
    for name in ("mine", "theirs"):
        engine.kill(name)


def _sleep(box: Box) -> int:
    box.sleep(30)
    return 0


def test_the_engine_is_asked_now_and_then_only() -> None:
    """What it said is believed for a while, unless somebody has to know; and adding up asks nobody."""
    engine = FakeEngine()
    unlisted = Unlisted(engine)
    for anew, calls in ((False, 1), (False, 1), (True, 2), (False, 2)):
        unlisted.refresh(tuple, anew=anew)
        assert unlisted(()).cpus == 0
        assert engine.calls.count("find") == calls


def test_what_ends_while_the_engine_is_asked_is_not_remembered() -> None:
    """A container that is on a ticket before the answer or after it has ended when it is on none any more."""
    engine = FakeEngine()
    _hold(engine, "ends", "begins", "left")
    listed = [("ends",), ("begins",)]
    unlisted = Unlisted(engine)
    unlisted.refresh(lambda: listed.pop(0))
    assert unlisted(()).cpus == 1.5
    for name in ("ends", "begins", "left"):
        engine.kill(name)
