"""Exact use from parent cgroups, on recorded file trees of both versions."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.engine.cgroup import (
    end_processes,
    find_parents,
    find_stale_parents,
    folders,
    is_of,
    is_ours,
    parent_name,
    processes,
    read_usage,
    remove_parents,
    stop_slices,
)
from runner.testing import FakeEngine

INFO = FakeEngine().info()
FLAT = "/codegen-runner.one-s01-a01-0badcafe"
SLICE = "codegenrunner-0123456789abcdef.slice"

V1 = {
    "memory/memory.max_usage_in_bytes": "315359232\n",
    "memory/memory.usage_in_bytes": "52000000\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    "memory/cgroup.procs": "",
    "cpuacct/cpuacct.usage": "1782359116\n",
    "cpuacct/cgroup.procs": "",
    "blkio/blkio.throttle.io_service_bytes_recursive": "Total 0\n",
}
"""What Linux 6.18 with cgroup v1 kept of a container that had ended."""

V2 = {
    "cpu.stat": "usage_usec 1412345\nuser_usec 1300000\nsystem_usec 112345\nnr_periods 0\nnr_throttled 0\n",
    "memory.peak": "631242752\n",
    "memory.events": "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n",
    "io.stat": "8:0 rbytes=4096 wbytes=1048576 rios=1 wios=9 dbytes=0 dios=0\n"
    "259:0 rbytes=100 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n253:1 \n",
    "cgroup.procs": "",
}
"""The same of cgroup v2, as Linux 6.1 writes it, with two disks used and one not."""


def _v1(root: Path, parent: str = FLAT) -> Path:
    for name, text in V1.items():
        controller, _, file = name.partition("/")
        path = root / controller / parent.lstrip("/") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def _v2(root: Path, without: str = "", parent: str = SLICE) -> Path:
    folder = root / "codegenrunner.slice" / parent if parent.endswith(".slice") else root / parent.lstrip("/")
    folder.mkdir(parents=True)
    for name, text in V2.items():
        if name != without:
            (folder / name).write_text(text)
    return root


def test_v1_numbers(tmp_path: Path) -> None:
    """Version 1 gives CPU time and peak memory exactly, and a reason for each of the others."""
    usage = read_usage(_v1(tmp_path), 1, FLAT)
    assert usage.cpu_seconds == pytest.approx(1.782359116)
    assert usage.peak_memory_bytes == 315359232
    assert (usage.io_read_bytes, usage.io_write_bytes, usage.oom_kills) == (None, None, None)
    assert usage.sources == {"cpu_seconds": "cgroup", "peak_memory_bytes": "cgroup"}
    assert sorted(usage.reasons) == ["io_read_bytes", "io_write_bytes", "oom_kills"]


@pytest.mark.parametrize("parent", [FLAT, SLICE])
def test_v2_numbers(tmp_path: Path, parent: str) -> None:
    """Version 2 gives everything, disks added up, with either driver's naming."""
    usage = read_usage(_v2(tmp_path, parent=parent), 2, parent)
    assert usage.cpu_seconds == pytest.approx(1.412345)
    assert usage.peak_memory_bytes == 631242752
    assert (usage.io_read_bytes, usage.io_write_bytes, usage.oom_kills) == (4196, 1048576, 1)
    assert len(usage.sources) == 5
    assert not usage.reasons


@pytest.mark.parametrize(
    ("missing", "fields", "reason"),
    [
        ("memory.peak", ["peak_memory_bytes"], "the kernel keeps no memory.peak (Linux 5.19 and newer do)"),
        ("io.stat", ["io_read_bytes", "io_write_bytes"], "the io controller is off"),
        ("memory.events", ["oom_kills"], "the memory controller is off"),
        ("cpu.stat", ["cpu_seconds"], "the cgroup has no cpu.stat"),
    ],
)
def test_v2_without_a_file(tmp_path: Path, missing: str, fields: list[str], reason: str) -> None:
    """What an older kernel or a missing controller does not count is None with the reason, never 0."""
    usage = read_usage(_v2(tmp_path, missing), 2, SLICE)
    assert [getattr(usage, name) for name in fields] == [None] * len(fields)
    assert usage.reasons == dict.fromkeys(fields, reason)


def test_no_disk_used_is_zero(tmp_path: Path) -> None:
    """An io.stat without a line was measured: nothing was read or written."""
    root = _v2(tmp_path)
    (root / "codegenrunner.slice" / SLICE / "io.stat").write_text("")
    usage = read_usage(root, 2, SLICE)
    assert (usage.io_read_bytes, usage.io_write_bytes) == (0, 0)


@pytest.mark.parametrize("version", [1, 2])
def test_a_missing_cgroup_has_a_reason(tmp_path: Path, version: int) -> None:
    """Without the cgroup every field is None and says why."""
    usage = read_usage(tmp_path, version, FLAT)
    assert not usage.sources
    assert len(usage.reasons) == 5
    assert usage.cpu_seconds is None


def test_names_fit_the_driver() -> None:
    """The cgroupfs driver gets a path, the systemd driver a slice; both are recognised as ours."""
    flat = parent_name(INFO, "mini-hello-r1-s01-a01")
    sliced = parent_name(dataclasses.replace(INFO, cgroup_driver="systemd"), "mini-hello-r1-s01-a01")
    assert flat is not None
    assert flat.startswith("/codegen-runner.mini-hello-r1-s01-a01-")
    assert sliced is not None
    assert sliced.startswith("codegenrunner-")
    assert sliced.endswith(".slice")
    assert sliced.count("-") == 1
    assert is_ours(flat)
    assert is_ours(sliced)


def test_names_are_never_used_twice() -> None:
    """The same attempt started again gets another cgroup, as the old one's counters would be added."""
    assert parent_name(INFO, "same") != parent_name(INFO, "same")


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_engines_of_one_machine_are_told_apart(driver: str) -> None:
    """What one engine's container may still need is not stale because another engine does not know of it."""
    info = dataclasses.replace(INFO, cgroup_driver=driver)
    name = parent_name(info, "same")
    assert name is not None
    assert is_of(info, name)
    assert not is_of(dataclasses.replace(info, root_dir="/srv/another"), name)


def test_odd_names_stay_within_a_folder() -> None:
    """Slashes and long names do not leave the one folder or exceed its length."""
    name = parent_name(INFO, "../../" + "x/" * 300)
    assert name is not None
    assert is_ours(name)
    assert len(name) < 255


@pytest.mark.parametrize("changed", [{"rootless": True}, {"local": False}, {"cgroup_driver": "none"}])
def test_no_parent_where_it_could_not_be_read(changed: dict[str, object]) -> None:
    """Rootless, remote and cgroup-less engines get no parent."""
    assert parent_name(dataclasses.replace(INFO, **changed), "x") is None  # type: ignore[arg-type]  # fields of the info


@pytest.mark.parametrize(
    "name", ["/docker", "/", "", "..", "/codegen-runner.", "/codegen-runner.a/../b", "system.slice"]
)
def test_other_names_are_not_ours(tmp_path: Path, name: str) -> None:
    """A name we did not make is neither looked up nor removed."""
    (tmp_path / "memory/docker").mkdir(parents=True)
    assert not is_ours(name)
    assert folders(tmp_path, name) == []
    assert remove_parents(tmp_path, [name]) == []
    assert (tmp_path / "memory/docker").is_dir()


def test_removal_takes_every_controller(tmp_path: Path) -> None:
    """Removal goes through all controllers and what is below, and does no harm twice."""
    for controller in ("memory", "cpuacct", "unified"):
        (tmp_path / controller / FLAT[1:] / "child").mkdir(parents=True)
    (tmp_path / "codegenrunner.slice" / SLICE).mkdir(parents=True)
    assert find_parents(tmp_path) == [FLAT, SLICE]
    for _ in range(2):
        assert remove_parents(tmp_path, [FLAT, SLICE]) == []
    assert find_parents(tmp_path) == []


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    """A cgroup that is in use stays and is named; the others go."""
    (tmp_path / "codegenrunner.slice" / SLICE).mkdir(parents=True)
    assert remove_parents(_v1(tmp_path), [FLAT, SLICE]) == [FLAT]


def test_stale_is_empty_and_unclaimed(tmp_path: Path) -> None:
    """A parent is stale if no process is in it or below, and no container names it."""
    root = _v1(tmp_path)
    assert find_stale_parents(root) == [FLAT]
    assert find_stale_parents(root, keep={FLAT}) == []
    child = root / "memory" / FLAT[1:] / "child"
    child.mkdir()
    (child / "cgroup.procs").write_text("4711\n")
    assert find_stale_parents(root) == []


@pytest.mark.processes
def test_systemd_is_told(tmp_path: Path) -> None:
    """Slices of ours, and nothing else, are stopped through systemctl; a machine without it is no error."""
    tool = tmp_path / "systemctl"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
    tool.chmod(0o755)
    stop_slices([SLICE, FLAT, "system.slice"], str(tool))
    stop_slices([FLAT], str(tool))
    stop_slices([SLICE], str(tmp_path / "absent"))
    said = tmp_path / "said"
    assert said.exists() == (os.geteuid() == 0)
    assert not said.exists() or said.read_text() == f"stop {SLICE}\n"


def test_a_folder_that_vanishes_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other runners remove their cgroups at any time: looking at one while it goes is no error."""
    name = parent_name(INFO, "run")
    assert name is not None
    child = tmp_path / "memory" / name[1:] / "child"
    child.mkdir(parents=True)
    scandir = os.scandir

    def vanish(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path) == child and child.is_dir():
            child.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanish)
    assert find_stale_parents(tmp_path) == [name]
    assert remove_parents(tmp_path, [name]) == []


@pytest.mark.processes
def test_what_runs_below_a_parent_is_killed(tmp_path: Path) -> None:
    """Processes below a parent are killed and named while they are there; nobody else's, and nothing in a foreign cgroup."""
    root = _v1(tmp_path)
    child = root / "memory" / FLAT[1:] / "child"
    child.mkdir()
    with subprocess.Popen(["sleep", "600"]) as inside, subprocess.Popen(["sleep", "600"]) as outside:
        try:
            (child / "cgroup.procs").write_text(f"0\n{inside.pid}\n")
            (root / "memory" / "cgroup.procs").write_text(f"{outside.pid}\n")
            assert processes(root, FLAT) == {inside.pid}
            assert end_processes(root, "/system.slice", 0) == end_processes(root, "memory", 0) == set()
            assert end_processes(root, FLAT, 0.1) == {inside.pid}  # the file goes on naming it
            assert inside.wait(60) == -signal.SIGKILL
            (child / "cgroup.procs").write_text("")
            assert end_processes(root, FLAT, 0) == set()
            assert outside.poll() is None
        finally:
            inside.kill()
            outside.kill()
