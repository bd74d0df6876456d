"""What a layer holds, and that equal ones are shared."""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
import time
from dataclasses import replace

from support.history_world import World, make_world

from runner.evidence.compress import decompressed
from runner.evidence.history.escape import from_layer, in_layer, opaque, whiteout
from runner.evidence.history.oci import KeptStep, read_index, read_steps
from runner.evidence.history.restore import restore
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.tree import scan


def _members(world: World, step: KeptStep) -> dict[str, tarfile.TarInfo]:
    path = world.folder / "blobs" / "sha256" / step.layer.sha256
    with decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        return {one.name: one for one in tar}


def test_layer_has_only_what_changed(world: World) -> None:
    """A layer holds the added and changed paths, the folders on the way to them, and markers of what is gone."""
    for name in ("stays", "changes", "goes"):
        (world.workspace / "deep" / name).mkdir(parents=True)
        (world.workspace / "deep" / name / "file").write_text(name)
    world.step()
    (world.workspace / "deep" / "changes" / "file").write_text("changed")
    shutil.rmtree(world.workspace / "deep" / "goes")
    names = _members(world, world.step())
    top = ["workspace", "workspace/deep"]
    assert [*names] == [*top, "workspace/deep/.wh.goes", "workspace/deep/changes", "workspace/deep/changes/file"]


def test_emptied_folder_has_one_marker(world: World) -> None:
    """Where nothing of a folder is left, one marker stands for all that is gone; else each has its own."""
    for name in ("one/a", "one/b", "two/a", "two/b", "two/c"):
        (world.workspace / name).parent.mkdir(exist_ok=True)
        (world.workspace / name).write_text(name)
    world.step()
    for name in ("one/a", "one/b", "two/a", "two/b"):
        (world.workspace / name).unlink()
    (world.workspace / "one" / "new").write_text("new")
    names = [*_members(world, world.step())]
    assert [name for name in names if ".wh." in name] == [
        "workspace/one/.wh..wh..opq",
        "workspace/two/.wh.a",
        "workspace/two/.wh.b",
    ]


def test_folder_that_becomes_a_file_needs_no_marker(world: World) -> None:
    """What was in a folder that is a file now is gone with it."""
    (world.workspace / "x").mkdir()
    (world.workspace / "x" / "a").write_text("a")
    world.step()
    shutil.rmtree(world.workspace / "x")
    (world.workspace / "x").write_text("file")
    assert [*_members(world, world.step())] == ["workspace", "workspace/x"]
    assert world.restored(2) == world.pictures[1]


def test_members_are_normalised(world: World) -> None:
    """Owner and time of a member say nothing of the machine; all twelve permission bits are kept."""
    (world.workspace / "tool").write_text("x")
    (world.workspace / "tool").chmod(0o4751)
    member = _members(world, world.step())["workspace/tool"]
    assert (member.uid, member.gid, member.uname, member.mtime, member.mode) == (0, 0, "", 0, 0o4751)


def test_hard_links_within_a_layer(world: World) -> None:
    """Names of one file are links in the layer that has them all; a later name has the content again."""
    (world.workspace / "a").write_text("x")
    os.link(world.workspace / "a", world.workspace / "b")
    first = _members(world, world.step())
    os.link(world.workspace / "a", world.workspace / "c")
    second = _members(world, world.step())
    assert (first["workspace/a"].isreg(), first["workspace/b"].linkname) == (True, "workspace/a")
    assert [*second] == ["workspace", "workspace/c"]
    assert second["workspace/c"].isreg()
    assert world.restored(2) == world.pictures[1]


def test_reserved_names() -> None:
    """A name that looks like a whiteout gains a dash in a layer, so that none meets another or a marker."""
    assert in_layer(b".wh.x/.wh-.y/.wha") == b"workspace/.wh-.x/.wh--.y/.wha"
    assert from_layer(b"workspace/.wh-.x/.wh--.y/.wha") == b".wh.x/.wh-.y/.wha"
    assert whiteout(b"d/.wh.x") == b"workspace/d/.wh..wh-.x"
    assert from_layer(opaque(b"d")) is from_layer(whiteout(b"a")) is from_layer(b"etc/passwd") is None
    assert (in_layer(b""), from_layer(b"workspace")) == (b"workspace", b"")


def test_what_cannot_be_kept_is_said_once(world: World) -> None:
    """Sockets and FIFOs are left out with a note, the first time that they are there."""
    os.mkfifo(world.workspace / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(world.workspace / "socket"))
        world.step()
        world.step()
    assert world.notes == [
        "not in the history: fifo: a fifo, which holds nothing to keep; socket: a socket, which holds nothing to keep"
    ]
    assert [one.path for one in world.history.index.skipped] == [b"fifo", b"socket"]
    assert world.restored(1) == {}


def test_unchanged_step_costs_an_empty_layer(world: World) -> None:
    """A step that changed nothing shares the index of the one before; its layer has the workspace's folder alone."""
    (world.workspace / "a").write_text("x")
    first, second = world.step(), world.step()
    assert second.index == first.index
    assert [*_members(world, second)] == ["workspace"]
    assert (second.added, second.changed, second.removed) == (0, 0, 0)


def test_touched_file_is_not_kept_again(world: World) -> None:
    """A file whose times alone changed is in no new layer."""
    (world.workspace / "a").write_text("x")
    world.step()
    (world.workspace / "a").touch()
    assert [*_members(world, world.step())] == ["workspace"]


def test_history_goes_on_after_it_was_opened_again(world: World) -> None:
    """What one process kept the next one continues."""
    (world.workspace / "a").write_text("x")
    world.step()
    world.history = open_history(world.folder)
    (world.workspace / "b").write_text("y")
    world.step()
    assert read_steps(world.folder) == world.history.steps
    assert [one.tag for one in read_steps(world.folder)] == ["step-001-s1", "step-002-s2"]
    assert read_steps(world.folder)[0].layers == read_steps(world.folder)[1].layers[:1]
    assert [world.restored(1), world.restored(2)] == world.pictures


def test_equal_layers_of_siblings_are_one_file(world: World) -> None:
    """A layer that a sibling run has as well takes no room again; a damaged one of its is not taken over."""
    (world.workspace / "a").write_text("x")
    blob = world.folder / "blobs" / "sha256" / world.step().layer.sha256
    twin, third = make_world(world.root.parent / "twin"), make_world(world.root.parent / "third")
    for other in (twin, third):
        other.history = open_history(other.folder, [world.folder])
        (other.workspace / "a").write_text("x")
    twin.step()
    assert (twin.folder / "blobs" / "sha256" / blob.name).samefile(blob)
    blob.write_bytes(b"damaged")
    third.step()
    assert not (third.folder / "blobs" / "sha256" / blob.name).samefile(blob)
    assert third.restored(1) == third.pictures[0]


def test_large_sparse_file(world: World) -> None:
    """A sparse file of a gibibyte costs little on disk, kept and restored."""
    with (world.workspace / "sparse").open("wb") as stream:
        stream.truncate(1024**3)
        stream.seek(1024**2)
        stream.write(b"in the middle")
    take_snapshot(world.history, world.workspace, scan(world.workspace), 1, "s1")
    assert world.history.steps[0].layer.bytes < 1024**2
    restore(world.folder, world.history.steps[0], world.root / "back")
    back = (world.root / "back" / "sparse").stat()
    assert (back.st_size, back.st_blocks * 512 < 1024**2) == (1024**3, True)
    with (world.root / "back" / "sparse").open("rb") as stream:
        stream.seek(1024**2)
        assert stream.read(14) == b"in the middle\0"


def test_two_thousand_files(world: World) -> None:
    """Of 2,000 files the one that changed is in the layer, those that did not are not read, and all come back."""
    for number in range(2000):
        path = world.workspace / f"package{number % 20}" / f"module{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"NUMBER = {number}\n")
    time.sleep(0.03)
    world.step()
    assert all(one.safe for one in world.history.seen.values())
    (world.workspace / "package7" / "module7.py").write_text("NUMBER = -7\n")
    step = world.step()
    assert [*_members(world, step)] == ["workspace", "workspace/package7", "workspace/package7/module7.py"]
    assert (step.added, step.changed, step.removed) == (0, 1, 0)
    assert world.restored(2) == world.pictures[1]


def test_folder_that_cannot_be_looked_into_is_noted(world: World) -> None:
    """What is in a folder that is closed to its owner is not kept, and that is said."""
    (world.workspace / "open").write_text("x")
    found = replace(scan(world.workspace), unreadable=(b"closed",))
    notes = take_snapshot(world.history, world.workspace, found, 1, "s1")
    assert notes == ("not in the history: closed: a folder that cannot be looked into",)
    assert [one.path for one in read_index(world.folder, read_steps(world.folder)[0]).skipped] == [b"closed"]
