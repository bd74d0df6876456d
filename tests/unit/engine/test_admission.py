"""Whether there is room for a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from runner.engine.admission import (
    Room,
    Space,
    admit,
    capacity,
    check_space,
    default_jobs,
    measure_space,
    require_space,
    reserved,
)
from runner.engine.protocol import ContainerState
from runner.errors import ExitCode, StorageError
from runner.names import LABEL_CPUS, LABEL_MEMORY
from runner.spec.models import Limits
from runner.testing import FakeEngine

GIB = 1024**3
INFO = FakeEngine().info()


def _state(status: str = "running", **labels: str) -> ContainerState:
    return ContainerState(
        id="1",
        name="n",
        status=status,
        exit_code=None,
        oom_killed=False,
        error="",
        started_at=None,
        finished_at=None,
        labels=labels,
    )


def test_space_of_a_folder_to_come(tmp_path: Path) -> None:
    """A folder that does not exist yet is measured where it will be."""
    space = measure_space(tmp_path / "not" / "yet")
    assert space.path == tmp_path
    assert 0 <= space.free <= space.total
    assert space.margin == max(GIB, space.total * 2 // 100)


@pytest.mark.parametrize(("free", "enough"), [(GIB, True), (GIB - 1, False)])
def test_margin(free: int, *, enough: bool) -> None:
    """Exactly the margin is enough, a byte less is not."""
    space = Space(path=Path("/data"), free=free, total=10 * GIB, margin=GIB)
    assert space.enough is enough
    if enough:
        check_space(space)
        return
    with pytest.raises(StorageError) as caught:
        check_space(space)
    assert caught.value.exit_code is ExitCode.STORAGE
    assert caught.value.what == "the disk is nearly full: 1.0 GiB free of 10.0 GiB at /data"
    assert "runner clean" in caught.value.hint


def test_require_space_measures_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nearly full disk is refused."""
    full = Space(path=tmp_path, free=0, total=GIB, margin=GIB)
    monkeypatch.setattr("runner.engine.admission.measure_space", lambda _: full)
    with pytest.raises(StorageError, match="nearly full"):
        require_space(tmp_path)


@pytest.mark.parametrize(
    ("cpus", "memory", "limits", "jobs"),
    [
        (4, 100 * GIB, [Limits(cpus=1)], 4),
        (4, 100 * GIB, [Limits(cpus=1), Limits(cpus=2)], 2),
        (4, 100 * GIB, [Limits(cpus=0.5)], 8),
        (10, 100 * GIB, [Limits(cpus=0.1)], 40),
        (4, 5 * GIB, [Limits(cpus=1, memory=2 * GIB)], 2),
        (2, 100 * GIB, [Limits(cpus=8)], 1),
        (2, GIB, [Limits(memory=8 * GIB)], 1),
        (4, 100 * GIB, [], 4),
    ],
)
def test_default_jobs(cpus: int, memory: int, limits: list[Limits], jobs: int) -> None:
    """As many runs as cores and four fifths of the memory hold at the largest limits, and at least one."""
    info = dataclasses.replace(INFO, cpus=cpus, memory=memory)
    assert default_jobs(info, limits) == jobs


def test_reservations_are_those_of_running_containers() -> None:
    """What has exited, says nothing, or says nonsense reserves nothing."""
    room = reserved(
        [
            _state(**{LABEL_CPUS: "1.5", LABEL_MEMORY: str(GIB)}),
            _state(**{LABEL_CPUS: "0.5", LABEL_MEMORY: str(GIB)}),
            _state("exited", **{LABEL_CPUS: "9", LABEL_MEMORY: "9"}),
            _state(**{LABEL_CPUS: "many", LABEL_MEMORY: "9"}),
            _state(),
        ]
    )
    assert room == Room(cpus=2.0, memory=2 * GIB)


HOST = Room(cpus=4.0, memory=8 * GIB)


@pytest.mark.parametrize(
    ("wanted", "taken", "reason"),
    [
        (Room(cpus=1, memory=GIB), Room(cpus=3, memory=7 * GIB), ""),
        (Room(cpus=1, memory=GIB), Room(cpus=3.5, memory=GIB), "1 cores wanted, 3.5 of 4 are reserved"),
        (
            Room(cpus=1, memory=2 * GIB),
            Room(cpus=1, memory=7 * GIB),
            "2.0 GiB of memory wanted, 7.0 GiB of 8.0 GiB are reserved",
        ),
        (Room(cpus=99, memory=99 * GIB), Room(cpus=0, memory=0), ""),
    ],
)
def test_admission(wanted: Room, taken: Room, reason: str) -> None:
    """A container is admitted if it fits, or if nothing else runs; else the reason has the numbers."""
    admission = admit(wanted, taken, HOST)
    assert (admission.admitted, admission.reason) == (not reason, reason)


def test_capacity_leaves_memory_to_others() -> None:
    """Steps may reserve every core, but not all memory."""
    assert capacity(dataclasses.replace(INFO, cpus=4, memory=10 * GIB)) == Room(cpus=4.0, memory=8 * GIB)
