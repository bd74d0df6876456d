"""A copy of a tree is the tree, whatever a program left in it, and nothing outside is touched."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.history_edits import EDITS, Edit, apply
from support.history_world import picture

from runner.errors import StorageError
from runner.evidence.copying import Copier, copy_tree, remove_tree, unlocked
from runner.evidence.tree import scan
from runner.evidence.walk import Entry

BLOCK = 512


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return an empty tree."""
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@settings(max_examples=60, deadline=None)
@given(st.lists(EDITS, max_size=15))
def test_copy_is_the_tree(script: list[Edit]) -> None:
    """Content, names, modes, links and times are the same; the tree itself is as it was, and both can be removed."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "tree", Path(folder) / "copy"
        source.mkdir()
        apply(source, script)
        before = scan(source)
        found, left = copy_tree(source, target)
        assert found == before
        assert _facts(scan(source).entries) == _facts(before.entries)
        assert left == ()
        assert picture(target) == picture(source)
        assert _facts(scan(target).entries) == _facts(before.entries)
        remove_tree(target)
        assert [one.name for one in Path(folder).iterdir()] == ["tree"]


def _facts(entries: Mapping[bytes, Entry]) -> dict[bytes, tuple[object, ...]]:
    return {path: (one.kind, one.mode, one.mtime_ns, one.target) for path, one in entries.items()}


def test_holes_stay_holes(tree: Path, tmp_path: Path) -> None:
    """A file of 1 GiB with little in it takes little room, in a copy as well."""
    with (tree / "sparse").open("wb") as stream:
        stream.write(b"start")
        stream.seek(1 << 29)
        stream.write(b"middle")
        stream.truncate(1 << 30)
    copy_tree(tree, tmp_path / "copy")
    copied = tmp_path / "copy" / "sparse"
    assert copied.stat().st_size == 1 << 30
    assert copied.stat().st_blocks * BLOCK < 1 << 20
    with copied.open("rb") as stream:
        assert stream.read(6) == b"start\0"
        stream.seek(1 << 29)
        assert stream.read(7) == b"middle\0"


def test_sockets_are_left_out_and_named(tree: Path, tmp_path: Path) -> None:
    """A socket holds nothing to copy; what is not copied is told."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tree / "socket"))
        (tree / "file").write_text("x")
        _, left = copy_tree(tree, tmp_path / "copy")
    assert left == (b"socket",)
    assert [one.name for one in (tmp_path / "copy").iterdir()] == ["file"]


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    """Links that lead out are copied as links, and removing a tree leaves alone what they point to."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (tree / "folder").symlink_to(tmp_path / "outside")
    (tree / "file").symlink_to(tmp_path / "outside" / "secret")
    copy_tree(tree, tmp_path / "copy")
    assert (tmp_path / "copy" / "folder").readlink() == tmp_path / "outside"
    remove_tree(tmp_path / "copy")
    remove_tree(tree / "folder")
    assert (tmp_path / "outside" / "secret").read_text() == "x"


def test_permissions_are_opened_and_put_back(tree: Path, tmp_path: Path) -> None:
    """What its owner may not read is copied all the same, and has its own permissions in both trees afterwards."""
    (tree / "folder").mkdir()
    (tree / "folder" / "file").write_text("x")
    (tree / "folder" / "file").chmod(0)
    (tree / "folder").chmod(0o100)
    with unlocked(tree, scan(tree)) as entries:
        assert {path: one.mode for path, one in entries.items()} == {b"folder": 0o100, b"folder/file": 0}
        assert [(tree / name).stat().st_mode & 0o777 for name in ("folder", "folder/file")] == [0o700, 0o400]
    copy_tree(tree, tmp_path / "copy")
    for root in (tree, tmp_path / "copy"):
        assert [(root / name).stat().st_mode & 0o777 for name in ("folder", "folder/file")] == [0o100, 0]
    remove_tree(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_every_way_to_copy(tmp_path: Path, ranges: bool) -> None:  # noqa: FBT001  a parameter of the test
    """Without shared blocks, and without the kernel's copy of a range, the copy is the same."""
    content = os.urandom(300_000) + bytes(2_000_000) + b"end"
    (tmp_path / "a").write_bytes(content)
    copier = Copier(clones=False, ranges=ranges)
    folder, source = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path / "a", os.O_RDONLY)
    try:
        copier.file(source, folder, b"b", scan(tmp_path).entries[b"a"])
    finally:
        os.close(folder)
        os.close(source)
    assert (tmp_path / "b").read_bytes() == content
    assert (tmp_path / "b").stat().st_mtime_ns == (tmp_path / "a").stat().st_mtime_ns


def test_target_must_not_exist(tree: Path, tmp_path: Path) -> None:
    """A copy is never mixed with something else."""
    (tmp_path / "copy").mkdir()
    with pytest.raises(StorageError, match="cannot copy"):
        copy_tree(tree, tmp_path / "copy")


def test_nothing_is_removed_that_is_not_there(tmp_path: Path) -> None:
    """Removing a tree that does not exist is fine."""
    remove_tree(tmp_path / "no" / "such")
    assert [*tmp_path.iterdir()] == []
