"""GPUs: found, handed out to one container each, and asked for from the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from runner.engine.admission import Room, reserved
from runner.engine.arbitration import Host
from runner.engine.containers import container_config
from runner.engine.gpus import find_gpus
from runner.engine.owner import current
from runner.engine.protocol import ContainerSpec, ContainerState, Resources
from runner.engine.reservations import FOLDER, Reservations, known_gpus, open_reservations
from runner.engine.tickets import read_tickets
from runner.names import LABEL_GPUS
from runner.spec.site import Share, Site
from runner.testing.engine import FakeEngine

GIB = 1024**3
NOTHING = Room(cpus=0, memory=0)
SMALL = Room(cpus=0.5, memory=GIB)
INFO = replace(FakeEngine().info(), gpus=("0", "1"))


@pytest.fixture
def tickets(tmp_path: Path) -> Iterator[ExitStack]:
    """Hold tickets open."""
    tmp_path.chmod(0o1777)
    with ExitStack() as stack:
        yield stack


def take_part(
    stack: ExitStack, folder: Path, pid: int, others: Room = NOTHING, site: Site | None = None
) -> Reservations:
    """Return the ticket of a runner of its own; that of another process is as good as one that lives."""
    owner = current() if not pid else replace(current(), pid=pid)
    one = stack.enter_context(
        open_reservations(owner, INFO, site or Site(), f"e{pid}", lambda _: others, parent=folder)
    )
    one.host = lambda: Host(room=Room(cpus=8.0, memory=64 * GIB), gpus=known_gpus(INFO, one.site))
    return one


def test_a_device_is_one_containers_alone(tickets: ExitStack, tmp_path: Path) -> None:
    """Two devices go to two containers; the third waits with the reason until one is given back, and gets that one."""
    mine = take_part(tickets, tmp_path, 0)
    for key in ("a", "b"):
        assert mine.ask(key, SMALL, run="r", step="s", gpus=1) == ""
    assert (mine.devices("a"), mine.devices("b")) == (("0",), ("1",))
    assert mine.ask("c", SMALL, run="r", step="s", gpus=1) == "1 GPUs wanted, 0 of 2 are free"
    assert mine.devices("c") == ()
    assert mine.ask("d", SMALL, run="r", step="s") == ""
    mine.drop("a")
    assert mine.ask("c", SMALL, run="r", step="s", gpus=1) == ""
    assert mine.devices("c") == ("0",)
    (ticket,) = read_tickets(mine.folder)
    assert {one.key: one.devices for one in ticket.demands} == {"b": ("1",), "d": (), "c": ("0",)}


def test_who_wants_all_waits_for_all(tickets: ExitStack, tmp_path: Path) -> None:
    """A container gets either all that it wants or none, so that two never hold each other up."""
    mine = take_part(tickets, tmp_path, 0)
    assert mine.ask("a", SMALL, run="r", step="s", gpus=1) == ""
    assert mine.ask("b", SMALL, run="r", step="s", gpus=2) == "2 GPUs wanted, 1 of 2 are free"
    mine.drop("a")
    assert mine.ask("b", SMALL, run="r", step="s", gpus=2) == ""
    assert mine.devices("b") == ("0", "1")


def test_a_container_that_runs_keeps_its_devices(tickets: ExitStack, tmp_path: Path) -> None:
    """One that is taken up again has what its labels say, and nobody else gets it."""
    mine = take_part(tickets, tmp_path, 0)
    assert mine.ask("a", SMALL, run="r", step="s", running=True, gpus=1, devices=("0",)) == ""
    assert mine.ask("b", SMALL, run="r", step="s", gpus=1) == ""
    assert mine.devices("b") == ("1",)


def test_containers_on_no_ticket_count(tickets: ExitStack, tmp_path: Path) -> None:
    """What a dead runner's container has the engine is asked for, freshly, before a device is given away."""
    mine = take_part(tickets, tmp_path, 0)
    found = [NOTHING]
    mine.others = lambda _: found[0]
    held = Room(cpus=1.0, memory=GIB, gpus=frozenset({"0"}))
    mine.refresh = lambda _, anew=False: found.insert(0, held) if anew else None
    assert mine.ask("a", SMALL, run="r", step="s", gpus=2) == "2 GPUs wanted, 1 of 2 are free"
    assert mine.ask("b", SMALL, run="r", step="s", gpus=1) == "another comes first"


def test_a_device_is_looked_for_again_after_a_runner_has_gone(tickets: ExitStack, tmp_path: Path) -> None:
    """One that dies while the engine is asked had its containers on its ticket then; nothing is given away by that."""
    mine, theirs = take_part(tickets, tmp_path, 0), take_part(tickets, tmp_path, os.getppid())
    theirs.owner = replace(current(), pid=os.getppid(), started=_started(os.getppid()))
    assert theirs.ask("x", SMALL, run="r", step="s", gpus=1) == ""
    held, found, gone = Room(cpus=0.5, memory=GIB, gpus=frozenset({"0"})), [NOTHING], [False]

    def refresh(listed: Callable[[], Collection[str]], *, anew: bool = False) -> None:
        found[0] = NOTHING if "x" in listed() else held
        if anew and not gone[0]:
            gone[0] = True
            theirs.close()

    mine.others, mine.refresh = lambda _: found[0], refresh
    assert mine.ask("a", SMALL, run="r", step="s", gpus=1) == "it is looked up which devices are free"
    assert mine.devices("a") == ()
    assert mine.ask("a", SMALL, run="r", step="s", gpus=1) == ""
    assert mine.devices("a") == ("1",)


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_labels_tell_devices() -> None:
    """Of a running container the devices are read from its labels; of one that has exited they are free."""
    state = ContainerState(
        id="x", name="x", status="running", exit_code=None, oom_killed=False, error="", started_at=1.0, finished_at=None
    )
    held = replace(state, labels={LABEL_GPUS: "0,GPU-7"})
    assert reserved([held, state]).gpus == {"0", "GPU-7"}
    assert reserved([replace(held, status="exited")]).gpus == frozenset()


def test_a_share_bounds_devices(tickets: ExitStack, tmp_path: Path) -> None:
    """Who may have one device at once waits for a second, although it is free."""
    mine = take_part(tickets, tmp_path, 0, site=Site(per_user=Share(gpus=1)))
    assert mine.ask("a", SMALL, run="r", step="s", gpus=1) == ""
    assert "may have 1 GPUs at once, and has 1" in mine.ask("b", SMALL, run="r", step="s", gpus=1)


def test_a_register_that_cannot_be_used_gives_no_device(tickets: ExitStack, tmp_path: Path) -> None:
    """Cores may be taken without it; a device that might be another's is not."""
    mine = take_part(tickets, tmp_path, 0)
    mine.folder = tmp_path / "gone" / FOLDER
    assert mine.ask("a", SMALL, run="r", step="s") == ""
    assert "cannot be used" in mine.ask("b", SMALL, run="r", step="s", gpus=1)


def test_devices_are_found_where_the_engine_has_the_runtime(tmp_path: Path) -> None:
    """The driver's devices count if the engine can give them to containers; the site file has the last word."""
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert find_gpus(("runc", "nvidia"), tmp_path) == ("0", "1")
    assert find_gpus(("runc",), tmp_path) == ()
    assert find_gpus(("nvidia",), tmp_path / "none") == ()
    assert known_gpus(INFO, Site()) == ("0", "1")
    assert known_gpus(INFO, Site(gpus=("GPU-7",))) == ("GPU-7",)
    assert known_gpus(INFO, Site(gpus=())) == ()


def test_the_engine_is_asked_for_these_devices_and_no_others() -> None:
    """The request names the devices; without any there is none."""
    spec = ContainerSpec(
        name="c",
        image="sha256:1",
        argv=("x",),
        env={},
        user="0:0",
        workdir="/",
        mounts=(),
        resources=Resources(cpus=1.0, memory=GIB, swap=0, pids=9, tmp=1, shm=1, log=1),
        labels={},
    )
    assert "DeviceRequests" not in container_config(spec)["HostConfig"]
    (request,) = container_config(replace(spec, gpus=("0", "GPU-7")))["HostConfig"]["DeviceRequests"]
    assert (request["DeviceIDs"], request["Capabilities"], request["Count"]) == (["0", "GPU-7"], [["gpu"]], 0)
