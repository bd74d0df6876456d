"""Weighing folders that somebody may be writing to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.evidence.weigh import Weight, weigh

MANY = 10**9


def _weigh(*roots: Path, most_bytes: int = MANY, most_names: int = MANY) -> Weight:
    return weigh(roots, lambda: True, most_bytes, most_names)


def test_counts_every_name_and_the_bytes_of_files(tmp_path: Path) -> None:
    """Folders, links and pipes count as names, only files have bytes; a link out is not followed."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "out").symlink_to("/usr")
    os.mkfifo(tmp_path / "pipe")
    found = _weigh(tmp_path)
    assert found.names == 4
    assert 10_000 <= found.bytes <= 64 * 1024


def test_a_hole_counts_as_long_as_it_looks(tmp_path: Path) -> None:
    """A sparse file takes nothing from the disk, but whoever collects it reads all of it."""
    with (tmp_path / "hole").open("wb") as hole:
        hole.truncate(10**8)
    assert _weigh(tmp_path).bytes == 10**8


def test_blocks_behind_the_end_count(tmp_path: Path) -> None:
    """Space that a file has reserved behind its end is taken from the disk, though its size does not show it."""
    data = b"x" * 100
    (tmp_path / "small").write_bytes(data)
    assert _weigh(tmp_path).bytes == (tmp_path / "small").stat().st_blocks * 512 > len(data)


def test_ends_as_soon_as_it_is_too_much(tmp_path: Path) -> None:
    """What is beyond a bound is not looked at, in whichever folder it is."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        for number in range(20):
            (folder / str(number)).write_bytes(b"x" * 5000)
    assert _weigh(first, second, most_names=30).names == 31
    assert _weigh(first, second, most_names=10).names == 11
    assert _weigh(first, second, most_bytes=20_000).names <= 4


def test_ends_when_told_to(tmp_path: Path) -> None:
    """A pace that says no ends the weighing with what was found by then."""
    for number in range(600):
        (tmp_path / str(number)).touch()
    assert weigh((tmp_path,), lambda: False, MANY, MANY).names == 256


def test_a_folder_that_vanishes_does_not_matter(tmp_path: Path) -> None:
    """What goes away between being seen and being opened counts once, as the name it was."""
    (tmp_path / "going" / "inner").mkdir(parents=True)
    for number in range(300):
        (tmp_path / f"file{number}").touch()

    def remove() -> bool:
        if (tmp_path / "going").exists():
            (tmp_path / "going" / "inner").rmdir()
            (tmp_path / "going").rmdir()
        return True

    assert weigh((tmp_path,), remove, MANY, MANY).names in {300, 301}


@pytest.mark.parametrize("missing", ["root", "folder"])
def test_the_root_is_needed(tmp_path: Path, missing: str) -> None:
    """A root that cannot be opened is an error, not an empty one."""
    from runner.errors import StorageError

    with pytest.raises(StorageError, match=missing):
        _weigh(tmp_path / missing)
