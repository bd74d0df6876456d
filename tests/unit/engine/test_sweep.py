"""Whose engine objects are, and removing what is nobody's any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.engine.owner import Owner
from runner.engine.protocol import ContainerSpec, ContainerState, Mount, Resources
from runner.engine.sweep import Standing, survey, sweep
from runner.errors import EngineError, StorageError
from runner.names import LABEL_CGROUP, LABEL_KIND, LABEL_RUN_DIR
from runner.testing import Box, FakeEngine

ME = Owner(uid=1000, pid=10, started=1, boot="b", host="lab")
LIVE = dataclasses.replace(ME, pid=11)
DEAD = dataclasses.replace(ME, pid=12)
FOREIGN = dataclasses.replace(ME, uid=1001, pid=13)
OWNERS: Mapping[Standing, Owner] = {"mine": ME, "live": LIVE, "dead": DEAD, "foreign": FOREIGN}
LIMITS = Resources(cpus=1, memory=2**26, swap=0, pids=64, tmp=2**20, shm=2**20, log=2**20)


def _alive(owner: Owner) -> bool:
    return owner.pid != DEAD.pid


@pytest.fixture
def engine() -> FakeEngine:
    """An engine whose containers write a word and end, or sleep if their command says so."""
    engine = FakeEngine()
    engine.register(_say)
    engine.register(_sleep, argv=("sleep",))
    return engine


def _say(box: Box) -> int:
    box.write(b"said")
    return 0


def _sleep(box: Box) -> int:
    box.write(b"going on")
    box.sleep(60)
    return 0


def _put(engine: FakeEngine, name: str, labels: Mapping[str, str], *, argv: str = "say", volume: str = "") -> str:
    """Leave a started container, and a volume if it has a name."""
    parent = f"/codegen-runner.{name}"
    if volume:
        engine.volumes.create(volume, device="/somewhere", labels=labels)
    spec = ContainerSpec(
        name=name,
        image="sha256:1",
        argv=(argv,),
        env={},
        user="1:1",
        workdir="/",
        mounts=(Mount(source=volume, target="/w", volume=True),) if volume else (),
        resources=LIMITS,
        labels={**labels, LABEL_CGROUP: parent},
        cgroup_parent=parent,
    )
    container = engine.containers.create(spec)
    engine.containers.start(container)
    if argv == "say":
        engine.containers.wait(container)
    return container


def _everybodys(engine: FakeEngine) -> None:
    for standing, owner in OWNERS.items():
        labels = {**owner.labels(), LABEL_KIND: "attempt"}
        _put(engine, f"c-{standing}", labels, volume=f"v-{standing}")
    _put(engine, "c-unknown", {LABEL_KIND: "attempt"})
    _put(engine, "c-other", {"com.example": "1"})


def _names(engine: FakeEngine) -> list[str]:
    volumes = [name for name, _ in engine.volumes.find({})]
    return [state.name for state in engine.observer.find({})] + volumes


def test_everything_has_its_standing(engine: FakeEngine) -> None:
    """Containers and volumes are told apart by owner; what carries no label of ours is not even seen."""
    _everybodys(engine)
    found = {one.name: one.standing for one in survey(engine, ME, alive=_alive).found}
    standings: list[Standing] = ["mine", "live", "dead", "foreign"]
    wanted = {f"{kind}-{standing}": standing for kind in "cv" for standing in standings}
    assert found == {**wanted, "c-unknown": "unknown"}


def test_only_the_dead_go(engine: FakeEngine) -> None:
    """A sweep removes what dead runners of this user left, and nothing else; it says what it did."""
    _everybodys(engine)
    collected: list[str] = []
    swept = sweep(engine, ME, lambda state: collected.append(state.name), alive=_alive)
    assert (swept.containers, swept.volumes, swept.kept) == (("c-dead",), ("v-dead",), ())
    assert collected == ["c-dead"]
    left = [f"{kind}-{who}" for kind in "cv" for who in ("foreign", "live", "mine", "other", "unknown")]
    assert sorted(_names(engine)) == sorted(set(left) - {"v-other", "v-unknown"})
    assert {one.name for one in swept.left_alone} == set(left) - {"c-other", "v-other", "v-unknown"}
    assert "/codegen-runner.c-dead" not in engine.cgroup_parents
    assert "/codegen-runner.c-live" in engine.cgroup_parents


def test_evidence_comes_first(engine: FakeEngine) -> None:
    """A container is there, and has ended, when its evidence is collected."""
    _put(engine, "c-dead", {**DEAD.labels(), LABEL_KIND: "attempt"}, argv="sleep")
    seen: list[tuple[str, list[tuple[str, bytes]]]] = []

    def collect(state: ContainerState) -> None:
        seen.append((state.status, list(engine.observer.logs(state.id))))

    sweep(engine, ME, collect, alive=_alive)
    assert seen == [("exited", [("stdout", b"going on")])]
    assert _names(engine) == []


@pytest.mark.parametrize("trouble", [StorageError("disk full"), OSError("disk full")])
def test_uncollected_stays(engine: FakeEngine, trouble: Exception) -> None:
    """A container whose evidence cannot be kept stays, with its volume and the reasons; others still go."""
    labels = {**DEAD.labels(), LABEL_KIND: "attempt"}
    _put(engine, "a", labels, volume="va")
    _put(engine, "b", labels)

    def collect(state: ContainerState) -> None:
        if state.name == "a":
            raise trouble

    swept = sweep(engine, ME, collect, alive=_alive)
    assert swept.containers == ("b",)
    assert swept.kept == (("a", "disk full"), ("va", "volume va is in use"))
    assert _names(engine) == ["a", "va"]


def test_a_refusing_engine_is_told_of(engine: FakeEngine) -> None:
    """What the engine refuses to remove stays listed with its words."""
    _put(engine, "a", {**DEAD.labels(), LABEL_KIND: "attempt"})
    engine.fail_next("remove", EngineError("device busy"))
    engine.fail_next("release", EngineError("not permitted"))
    swept = sweep(engine, ME, lambda _: None, alive=_alive)
    assert swept.kept == (("a", "device busy"),)


def test_cgroups_that_stay_are_told_of(engine: FakeEngine) -> None:
    """A parent cgroup that could not be released is listed; the container is gone all the same."""
    _put(engine, "a", {**DEAD.labels(), LABEL_KIND: "attempt"})
    engine.fail_next("release", EngineError("not permitted"))
    swept = sweep(engine, ME, lambda _: None, alive=_alive)
    assert (swept.containers, swept.kept) == (("a",), (("/codegen-runner.a", "not permitted"),))


def test_other_outputs_are_left(engine: FakeEngine) -> None:
    """With an output folder given, only what belongs to runs below it is seen."""
    for name, folder in (("a", "/data/runs/x/1"), ("b", "/data/runs-other/x/1")):
        _put(engine, name, {**DEAD.labels(), LABEL_KIND: "attempt", LABEL_RUN_DIR: folder})
    assert sweep(engine, ME, lambda _: None, Path("/data/runs"), alive=_alive).containers == ("a",)
    assert _names(engine) == ["b"]
