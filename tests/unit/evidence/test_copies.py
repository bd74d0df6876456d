"""Copies of a step's workspace are what the history has, take little room, and are in no archive."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
from support.archives import take_members
from support.history_world import World, make_world, picture
from support.planning import make_experiment, make_plan

from runner.errors import StorageError
from runner.evidence.archive import write_archive
from runner.evidence.compress import decompressed
from runner.evidence.copies import check_copies
from runner.evidence.layout import RunLayout
from runner.evidence.unpack import unpack
from runner.execution import copies as copies_module
from runner.execution.copies import keep_copy
from runner.plan.models import Run
from runner.spec.models import HistoryMode


def _run(history: HistoryMode) -> Run:
    return make_plan(make_experiment(history=history))[0]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a workspace with files, links and permissions, kept once."""
    world = make_world(tmp_path / "run")
    (world.workspace / "locked").mkdir()
    (world.workspace / "locked" / "secret").write_text("s")
    (world.workspace / "a.txt").write_text("one")
    (world.workspace / "tool").write_text("#!/bin/sh\n")
    (world.workspace / "tool").chmod(0o755)
    (world.workspace / "link").symlink_to("a.txt")
    os.link(world.workspace / "a.txt", world.workspace / "hard")
    (world.workspace / "locked").chmod(0o500)
    return world


def _kept_twice(world: World, history: HistoryMode) -> RunLayout:
    layout = RunLayout(world.root)
    assert keep_copy(layout, _run(history), world.step()) == ()
    (world.workspace / "b.txt").write_text("two")
    (world.workspace / "tool").unlink(missing_ok=True)
    assert keep_copy(layout, _run(history), world.step()) == ()
    return layout


def test_a_folder_per_step(world: World) -> None:
    """With `full` each step's workspace can be looked into; what did not change is there once."""
    layout = _kept_twice(world, "full")
    for number in (1, 2):
        copy = picture(layout.step(number).copy)
        assert {path: one[:3] for path, one in copy.items()} == {
            path: one[:3] for path, one in world.pictures[number - 1].items()
        }
    one, two = (layout.step(number).copy / "a.txt" for number in (1, 2))
    assert one.stat().st_ino == two.stat().st_ino
    assert one.stat().st_ino != (world.workspace / "a.txt").stat().st_ino
    assert check_copies(layout) == []


def test_an_archive_per_step(world: World, tmp_path: Path) -> None:
    """With `compressed` each step's workspace is a tar with permissions and hard links, the same bytes every time."""
    layout = _kept_twice(world, "compressed")
    path = layout.step(1).packed_copy
    with decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        found = {one.name: (one.type, one.mode, one.linkname, one.mtime, one.uid) for one in tar}
    assert [*found] == sorted(found)
    assert found["locked"] == (tarfile.DIRTYPE, 0o500, "", 0, 0)
    assert found["hard"] == (tarfile.LNKTYPE, 0o644, "a.txt", 0, 0)
    assert found["tool"][:2] == (tarfile.REGTYPE, 0o755)
    before = path.read_bytes()
    keep_copy(layout, _run("compressed"), world.history.steps[0])
    assert path.read_bytes() == before
    assert check_copies(layout) == []
    assert [one.name for one in layout.step(1).root.iterdir()] == [path.name]


@pytest.mark.parametrize("history", ["full", "compressed"])
def test_they_are_in_no_archive(world: World, tmp_path: Path, history: HistoryMode) -> None:
    """An archive has the history already: it leaves the copies out, and its manifest says where the same is."""
    layout = _kept_twice(world, history)
    name = "workspace" if history == "full" else "workspace.tar.zst"
    info = write_archive(layout, "zstd")
    with decompressed(info.path) as stream:
        manifest = json.loads(take_members(stream.read())[-1][1])
    assert manifest["derivable"] == [{"path": f"steps/step_00{number}/{name}", "from": "history"} for number in (1, 2)]
    unpack(info.path, tmp_path / "out")
    assert not list((tmp_path / "out" / "steps").rglob("workspace*"))


@pytest.mark.parametrize("history", ["diff", "off"])
def test_none_is_made_unasked(world: World, history: HistoryMode) -> None:
    """Other modes leave nothing beside the history."""
    layout = RunLayout(world.root)
    assert keep_copy(layout, _run(history), world.step()) == ()
    assert not (layout.root / "steps").exists()


def test_a_change_is_found(world: World) -> None:
    """A file in a copy that is not what the history has is named, in every step that shares it."""
    layout = _kept_twice(world, "full")
    (layout.step(1).copy / "a.txt").write_text("changed")
    assert [one.partition(" is ")[0] for one in check_copies(layout)] == [
        f"steps/step_00{number}/workspace: {name}" for number in (1, 2) for name in ("a.txt", "hard")
    ]
    _kept_twice(world, "compressed")
    packed = layout.step(4).packed_copy
    packed.write_bytes(packed.read_bytes()[:-20])
    assert "a step's archive is damaged" in check_copies(layout)[-1]


def test_what_goes_wrong_is_a_note(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that cannot be written changes no outcome and is told."""

    def fail(layout: RunLayout, kept: object) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(copies_module, "write_folder", fail)
    (note,) = keep_copy(RunLayout(world.root), _run("full"), world.step())
    assert note == "there is no copy of its workspace beside the history: no room"
