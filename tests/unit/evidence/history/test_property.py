"""Whatever a program does to a workspace, each step comes back as it was."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from support.history_edits import SCRIPTS, Edit, apply
from support.history_world import Picture, make_world

from runner.evidence.history.check import check_history
from runner.evidence.history.diff import differences, state
from runner.evidence.history.snapshot import open_history


@settings(max_examples=60, deadline=None)
@given(SCRIPTS)
def test_every_step_comes_back(script: list[list[Edit]]) -> None:
    """After any edits, every step's workspace is restored byte for byte, with modes, symbolic and hard links."""
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder) / "run")
        for edits in script:
            apply(world.workspace, edits)
            world.history = open_history(world.folder)
            world.step()
        for number, expected in enumerate(world.pictures, start=1):
            assert world.restored(number) == expected
        assert check_history(world.folder) == []


@settings(max_examples=40, deadline=None)
@given(SCRIPTS)
def test_differences_are_those_of_the_trees(script: list[list[Edit]]) -> None:
    """The paths that two steps' indexes differ in are those in which the two trees did."""
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder) / "run")
        for edits in script:
            apply(world.workspace, edits)
            world.step()
        first, last = (state(world.folder, world.history.steps[at]) for at in (0, -1))
        old, new = world.pictures[0], world.pictures[-1]
        found = {one.path for one in differences(first, last)}
        expected = {path for path in {*old, *new} if _without_links(old, path) != _without_links(new, path)}
        assert {path for path in expected if not _is_folder(old, path) and not _is_folder(new, path)} <= found
        assert {path for path in found if _is_file(old, path) == _is_file(new, path)} <= {*old, *new}


def _without_links(picture: Picture, path: bytes) -> tuple[object, ...]:
    return picture.get(path, ())[:3]


def _is_folder(picture: Picture, path: bytes) -> bool:
    return picture.get(path, ("",))[0] == "folder"


def _is_file(picture: Picture, path: bytes) -> bool:
    return picture.get(path, ("",))[0] == "file"


def test_nothing_but_bytes_counts(tmp_path: Path) -> None:
    """Two workspaces with equal content give equal layers, whatever umask, time, owner or order made them."""
    worlds = []
    for name, umask, owner in (("one", 0o022, 0), ("two", 0o077, os.geteuid() and os.getuid())):
        world = make_world(tmp_path / name)
        names = ("b", "a") if name == "two" else ("a", "b")
        before = os.umask(umask)
        try:
            for one in names:
                (world.workspace / one).write_text(one)
                (world.workspace / one).chmod(0o640)
                os.utime(world.workspace / one, (umask, umask))
                os.chown(world.workspace / one, owner or -1, -1)
            worlds.append(world.step())
        finally:
            os.umask(before)
    assert worlds[0] == worlds[1]
