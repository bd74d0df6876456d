"""Room on the disk is counted in blocks, each file once, and no link is followed."""

from __future__ import annotations

import os
from pathlib import Path

from runner.evidence.usage import Meter


def _blocks(*paths: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in paths)


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    """Whether its names are in one folder or in two that are measured one after the other."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (first / "file").write_bytes(b"x" * 100_000)
    os.link(first / "file", first / "again")
    os.link(first / "file", second / "file")
    meter = Meter()
    assert meter.measure(first) == _blocks(first, first / "file")
    assert meter.measure(second) == _blocks(second)
    assert Meter().measure(second) == _blocks(second, second / "file")


def test_a_sparse_file_takes_what_is_in_it(tmp_path: Path) -> None:
    """A file that claims a terabyte takes next to nothing."""
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1024**4)
    assert Meter().measure(tmp_path) < 1024**2


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link to a folder counts as a link."""
    (tmp_path / "root").symlink_to("/usr")
    assert Meter().measure(tmp_path) == _blocks(tmp_path, tmp_path / "root")
    assert Meter().measure(tmp_path / "root") == _blocks(tmp_path / "root")


def test_parts_are_the_names_of_the_folder(tmp_path: Path) -> None:
    """What is deep below a name counts with that name; the folder itself has the empty name."""
    deep = tmp_path / "one" / "two" / "three"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "other").write_bytes(b"x")
    parts = Meter().parts(tmp_path)
    assert parts["one"] == _blocks(tmp_path / "one", tmp_path / "one" / "two", deep, deep / "file")
    assert parts[""] == _blocks(tmp_path)
    assert set(parts) == {"", "one", "other"}


def test_what_is_not_there_takes_nothing(tmp_path: Path) -> None:
    """A folder that does not exist is no error."""
    assert Meter().measure(tmp_path / "none") == 0
