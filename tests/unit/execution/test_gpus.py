"""Steps that have GPUs for themselves, on an engine in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_world import World, good_step, limits

from runner.engine.admission import Room
from runner.engine.owner import current
from runner.engine.reservations import open_reservations
from runner.evidence.logs import LogSizes, collect_logs
from runner.execution.context import Context
from runner.execution.executors.local import LocalPool
from runner.execution.experiment import carry_out
from runner.ledger.store import ledger_path, open_ledger
from runner.names import LABEL_GPUS
from runner.spec.site import Site
from runner.testing import Box, FakeEngine
from runner.testing.info import INFO

GPUS = ("0", "1")


@pytest.fixture
def lab(tmp_path: Path) -> World:
    """Return a world with two GPUs in which every step wants one."""
    tmp_path.chmod(0o1777)
    world = World(
        output=tmp_path / "runs",
        sockets=tmp_path / "sockets",
        engine=FakeEngine(replace(INFO, gpus=GPUS)),
        limits=limits(gpus=1, cpus=0.1),
    )
    world.output.mkdir()
    return world


@pytest.fixture
def hands(lab: World, tmp_path: Path) -> Iterator[Context]:
    """Return the hands of a runner that takes part in the sharing of the machine."""
    nobody = Room(cpus=0, memory=0)
    with open_reservations(current(), lab.engine.info(), Site(), "e", lambda _: nobody, parent=tmp_path) as mine:
        yield replace(lab.context, reservations=mine)


def test_each_container_has_a_device_of_its_own(lab: World, hands: Context) -> None:
    """Four runs at once never share one; environment, labels and records say which each had."""
    lock, held, seen, both = threading.Lock(), set[str](), list[str](), threading.Event()

    def program(box: Box) -> int:
        (device,) = box.spec.gpus
        assert box.spec.env["NVIDIA_VISIBLE_DEVICES"] == box.spec.labels[LABEL_GPUS] == device
        with lock:
            assert device not in held
            held.add(device)
            seen.append(device)
            if held == set(GPUS):
                both.set()
        assert both.wait(60), "nobody has the other one meanwhile"
        time.sleep(0.05)
        with lock:
            held.discard(device)
        return good_step(box)

    lab.engine.register(program)
    with open_ledger(ledger_path(lab.output)) as ledger:
        done = list(carry_out(hands, lab.runs(4), ledger, LocalPool(4, lab.cancellation)))
    assert [one.record.outcome for one in done] == ["passed"] * 4
    assert set(seen) == set(GPUS)
    recorded = [one.gpus for run in done for step in run.record.steps for one in step.attempts]
    assert sorted(recorded) == sorted((device,) for device in seen)


def test_a_step_without_devices_sees_none(lab: World) -> None:
    """An image that asks for all devices gets none of them where there are some; elsewhere nothing is said."""
    lab.limits = limits()
    told: list[str | None] = []

    def program(box: Box) -> int:
        assert box.spec.gpus == ()
        told.append(box.spec.env.get("NVIDIA_VISIBLE_DEVICES"))
        return good_step(box)

    assert lab.perform(program).record.outcome == "passed"
    assert told == ["void", "void"]


def test_what_it_had_is_free_when_it_has_ended(lab: World, hands: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may have a container's room and device as soon as it has ended, before its output is kept."""
    found: list[tuple[int, int]] = []
    during: list[int] = []
    reservations = hands.reservations
    assert reservations is not None

    def program(box: Box) -> int:
        during.append(len(reservations.devices(box.spec.name)))
        return good_step(box)

    def look(*given: Any) -> LogSizes:
        found.append((len(during), len(reservations.demands)))
        return collect_logs(*given)

    monkeypatch.setattr("runner.execution.contain.collect_logs", look)
    lab.engine.register(program)
    with open_ledger(ledger_path(lab.output)) as ledger:
        (done,) = carry_out(hands, lab.runs(1), ledger, LocalPool(1, lab.cancellation))
    assert done.record.outcome == "passed"
    assert during == [1] * len(found)
    assert found == [(number + 1, 0) for number in range(len(found))]
