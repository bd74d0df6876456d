"""Merging layers."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from runner.images.layers import Tree, difference, is_unwanted, read_layer, write_layer

Member = tuple[str, str, bytes | str]
"""Path, type (file, dir, sym, hard), content or link."""


def _layer(path: Path, members: list[Member], *, mtime: int = 5, uid: int = 0) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.mtime, info.uid = mtime, uid
            info.mode = 0o755 if kind == "dir" else 0o644
            info.type = {
                "file": tarfile.REGTYPE,
                "dir": tarfile.DIRTYPE,
                "sym": tarfile.SYMTYPE,
                "hard": tarfile.LNKTYPE,
            }[kind]
            if isinstance(content, str):
                info.linkname = content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def _merged(tmp_path: Path, base: list[Member], *upper: list[Member]) -> dict[str, str]:
    """Return path and type of what lies over the base after merging, in the order written."""
    lower: Tree = {}
    read_layer(lower, _layer(tmp_path / "base", base))
    full = dict(lower)
    for number, members in enumerate(upper):
        read_layer(full, _layer(tmp_path / f"upper{number}", members, mtime=number + 7))
    write_layer(difference(lower, full), tmp_path / "out", date=99)
    with tarfile.open(tmp_path / "out") as tar:
        assert {member.mtime for member in tar.getmembers()} <= {99}
        return {member.name: member.type.decode() for member in tar.getmembers()}


def test_a_file_that_was_made_and_removed_leaves_nothing(tmp_path: Path) -> None:
    """What a later layer deletes of an earlier one is in neither."""
    assert _merged(tmp_path, [], [("a", "dir", b""), ("a/x", "file", b"1")], [("a/.wh.x", "file", b"")]) == {"a": "5"}


def test_a_deleted_base_file_is_whited_out_once(tmp_path: Path) -> None:
    """A folder of the base that was removed is hidden by one marker, not by one for each file in it."""
    base: list[Member] = [("d", "dir", b""), ("d/e", "dir", b""), ("d/e/f", "file", b"1"), ("keep", "file", b"2")]
    assert _merged(tmp_path, base, [("d/.wh.e", "file", b"")]) == {"d": "5", "d/.wh.e": "0"}


def test_an_opaque_folder_hides_what_was_below(tmp_path: Path) -> None:
    """The opaque marker removes all older content of its folder."""
    base: list[Member] = [("d", "dir", b""), ("d/old", "file", b"1")]
    upper: list[Member] = [("d", "dir", b""), ("d/.wh..wh..opq", "file", b""), ("d/new", "file", b"2")]
    assert _merged(tmp_path, base, upper) == {"d": "5", "d/.wh.old": "0", "d/new": "0"}


def test_what_was_only_touched_is_left_out(tmp_path: Path) -> None:
    """A file rewritten with the same content, and a folder with another time, are no change."""
    base: list[Member] = [("d", "dir", b""), ("d/same", "file", b"1"), ("d/other", "file", b"1")]
    upper: list[Member] = [("d", "dir", b""), ("d/same", "file", b"1"), ("d/other", "file", b"2")]
    assert _merged(tmp_path, base, upper) == {"d": "5", "d/other": "0"}


def test_parents_are_listed_with_the_attributes_they_have(tmp_path: Path) -> None:
    """A changed file brings all its folders, even if the engine's layer left them out."""
    base: list[Member] = [("a", "dir", b""), ("a/b", "dir", b"")]
    assert _merged(tmp_path, base, [("a/b/c", "file", b"1")]) == {"a": "5", "a/b": "5", "a/b/c": "0"}


def test_entries_are_sorted_by_bytes(tmp_path: Path) -> None:
    """Order is that of the paths' bytes, whatever the order in the engine's layer."""
    upper: list[Member] = [("é", "file", b""), ("z", "file", b""), ("B", "file", b""), ("a", "file", b"")]
    assert list(_merged(tmp_path, [], upper)) == ["B", "a", "z", "é"]


def test_hard_links_follow_the_first_path(tmp_path: Path) -> None:
    """Of linked paths the first in order holds the content, even if the engine listed another first."""
    upper: list[Member] = [("z", "file", b"data"), ("a", "hard", "z")]
    assert _merged(tmp_path, [], upper) == {"a": "0", "z": "1"}


def test_a_link_whose_target_went_keeps_its_content(tmp_path: Path) -> None:
    """Removing one of two linked paths leaves the other with the bytes."""
    merged = _merged(tmp_path, [], [("a", "file", b"data"), ("b", "hard", "a")], [(".wh.a", "file", b"")])
    assert merged == {"b": "0"}
    with tarfile.open(tmp_path / "out") as tar:
        content = tar.extractfile("b")
        assert content is not None
        assert content.read() == b"data"


def test_a_folder_that_became_a_link_loses_its_content(tmp_path: Path) -> None:
    """A symbolic link in place of a folder hides everything that was in it."""
    base: list[Member] = [("d", "dir", b""), ("d/f", "file", b"1")]
    assert _merged(tmp_path, base, [("d", "sym", "elsewhere")]) == {"d": "2"}


@pytest.mark.parametrize(
    "path", ["artifacts/x.whl", "var/log/dpkg.log", "var/cache/ldconfig/aux-cache", "etc/passwd-", "root/.cache/pip/x"]
)
def test_build_leftovers_are_unwanted(path: str) -> None:
    """Inputs, logs, caches and backups stay out."""
    assert is_unwanted(path)


@pytest.mark.parametrize("path", ["var/log", "tmp", "etc/passwd", "opt/framework/var/log/x", "run/gateway"])
def test_what_an_image_needs_stays(path: str) -> None:
    """Standard folders, mount points and a framework's own files are kept."""
    assert not is_unwanted(path)


def test_the_same_tree_gives_the_same_layer(tmp_path: Path) -> None:
    """Neither the order nor the times nor the number of the engine's layers change a byte."""
    first: Tree = {}
    read_layer(first, _layer(tmp_path / "1", [("a", "dir", b""), ("a/x", "file", b"1"), ("b", "file", b"2")]))
    second: Tree = {}
    read_layer(second, _layer(tmp_path / "2", [("b", "file", b"0"), ("a", "dir", b"")], mtime=1000))
    read_layer(second, _layer(tmp_path / "3", [("b", "file", b"2"), ("a/x", "file", b"1")], mtime=2000))
    one = write_layer(difference({}, first), tmp_path / "o1", date=3)
    other = write_layer(difference({}, second), tmp_path / "o2", date=3)
    assert one == other
    assert (tmp_path / "o1").read_bytes() == (tmp_path / "o2").read_bytes()
