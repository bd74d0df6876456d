"""Folders within each other by the thousand: what is kept of them is bounded and told, and all of it can be removed."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.deep import deepen

from runner.errors import StorageError
from runner.evidence.archive import write_archive
from runner.evidence.contents import read_contents
from runner.evidence.copying import copy_tree, remove_tree
from runner.evidence.excludes import split
from runner.evidence.history.oci import read_index, read_steps
from runner.evidence.history.restore import restore
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.tree import make_collectable, scan
from runner.evidence.unpack import unpack
from runner.evidence.usage import Meter
from runner.evidence.verify import verify_archive
from runner.evidence.walk import LONGEST_PATH, TOO_DEEP, opened, walk
from runner.evidence.weigh import Weight, weigh

MIB = 1024**2
NAME = b"d" * 200
FITTING = (LONGEST_PATH + 1) // (len(NAME) + 1)
"""Levels whose paths are kept."""
LAST = b"/".join([NAME] * FITTING)
"""The deepest folder that is kept."""


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with a file, and with 400 folders within each other, each with a file and a folder beside it."""
    root = tmp_path / "run" / "generated_artifacts"
    root.mkdir(parents=True)
    (root / "file").write_text("shallow")
    deepen(root, 400, NAME)
    yield root
    remove_tree(tmp_path / "run")


def _peak(work: Callable[[], object]) -> int:
    """Return how many bytes of memory something took at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_removing_takes_no_memory_for_paths(tmp_path: Path) -> None:
    """2,000 levels, whose paths together have 400 MB and more, go within 4 MiB, those closed to their owner as well."""
    root = tmp_path / "tree"
    root.mkdir()
    (outside := tmp_path / "outside").write_text("stays")
    deepen(root, 2000, NAME, link_to=outside)
    (root / os.fsdecode(NAME)).chmod(0)
    assert _peak(lambda: remove_tree(root)) < 4 * MIB
    assert not root.exists()
    assert outside.read_text() == "stays"


def test_folder_that_is_moved_away_while_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way up is the way down: what lies above the place that a folder was moved to is not touched."""
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    (tmp_path / "other" / "kept").mkdir(parents=True)
    rmdir = os.rmdir
    moved: list[bytes] = []

    def move_first(name: bytes, *, dir_fd: int) -> None:
        if not moved:
            moved.append(name)
            (tmp_path / "tree" / "a").rename(tmp_path / "other" / "a")
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", move_first)
    with pytest.raises(StorageError, match="moved"):
        remove_tree(tmp_path / "tree")
    assert sorted(one.name for one in (tmp_path / "other").iterdir()) == ["a", "kept"]


def test_a_look_is_bounded(deep: Path) -> None:
    """Nothing is seen below where paths get too long, which is told of one folder; memory does not grow with depth."""
    found = scan(deep)
    assert found.too_deep == (LAST,)
    assert found.unreadable == ()
    assert max(map(len, found.entries)) <= LONGEST_PATH
    assert sum(path.endswith(NAME) for path in found.entries) == FITTING
    assert _peak(lambda: scan(deep)) < 8 * MIB
    told: list[bytes] = []
    with opened(deep) as root:
        assert dict(walk(root, told.append)) == found.entries
    assert told == [LAST]


def test_an_archive_of_it_can_be_unpacked(deep: Path, tmp_path: Path) -> None:
    """It lists what it left out and why, is sound, and comes back whole."""
    layout = RunLayout(deep.parent)
    written = write_archive(layout, "zstd")
    (left_out,) = written.skipped
    assert left_out.reason == TOO_DEEP
    assert left_out.path.startswith(b"generated_artifacts/" + NAME)
    assert verify_archive(written.path) == []
    try:
        assert unpack(written.path, tmp_path / "out") == ()
        assert (tmp_path / "out" / "generated_artifacts" / "file").read_text() == "shallow"
    finally:
        remove_tree(tmp_path / "out")


@pytest.mark.parametrize("longer", [0, 1])
def test_a_path_that_is_just_short_enough(tmp_path: Path, longer: int) -> None:
    """A file and a folder of the longest path go into an archive and out of it; with a byte more they do not."""
    layout = RunLayout(tmp_path / "run")
    layout.root.mkdir()
    rest = LONGEST_PATH - FITTING * (len(NAME) + 1) + longer
    try:
        deepen(layout.root, FITTING, NAME, last=(b"f" * rest, b"g" * rest))
        written = write_archive(layout, "zstd")
        assert [one.path for one in written.skipped] == ([LAST] if longer else [])
        assert written.members == 3 * FITTING + (1 if longer else 3)
        unpack(written.path, tmp_path / "out")
        assert (max(map(len, scan(tmp_path / "out").entries)) == LONGEST_PATH) is not longer
    finally:
        remove_tree(layout.root)
        remove_tree(tmp_path / "out")


def test_it_is_copied_compared_and_measured_as_far_as_it_is_kept(deep: Path, tmp_path: Path) -> None:
    """A copy has what was seen, and equals it."""
    try:
        found, left = copy_tree(deep, tmp_path / "copy")
        assert left == ()
        assert scan(tmp_path / "copy").entries.keys() == found.entries.keys()
        assert read_contents(tmp_path / "copy") == read_contents(deep)
    finally:
        remove_tree(tmp_path / "copy")


def test_the_run_says_what_is_not_kept(deep: Path) -> None:
    """One sentence names the folder, by how its path begins."""
    (note,) = make_collectable(deep)
    assert note.startswith(
        f"1 folders hold paths of more than {LONGEST_PATH} bytes, which are not kept: {'d' * 200}... ("
    )
    assert len(note) < 400


def test_the_history_keeps_the_rest(deep: Path, tmp_path: Path) -> None:
    """A step's workspace is in the history but for what is too deep, which the index and a note name."""
    history = open_history(tmp_path / "history")
    found = scan(deep)
    (note,) = take_snapshot(history, deep, found, 1, "s1")
    assert note.endswith(TOO_DEEP)
    assert len(note) < 400
    (kept,) = read_steps(tmp_path / "history")
    (skipped,) = read_index(tmp_path / "history", kept).skipped
    assert (skipped.path, skipped.reason) == (LAST, TOO_DEEP)
    try:
        restore(tmp_path / "history", kept, tmp_path / "back")
        assert scan(tmp_path / "back").entries.keys() == found.entries.keys()
    finally:
        remove_tree(tmp_path / "back")


def test_what_a_pattern_leaves_out_is_not_called_too_deep(deep: Path) -> None:
    """A folder that is excluded has its own reason."""
    rest, (left_out,) = split(scan(deep), ("d*/",))
    assert rest.too_deep == ()
    assert left_out.reason.startswith("excluded by d*/")


def test_weighing_it_takes_no_memory_for_paths(tmp_path: Path) -> None:
    """What lies beside each of 600 folders is counted too, and what waits to be counted takes no room for its path."""
    deepen(tmp_path, 600, NAME)
    found: list[object] = []
    try:
        assert _peak(lambda: found.append(weigh([tmp_path], lambda: True, MIB, 10_000))) < 4 * MIB
        meter = Meter()
        assert _peak(lambda: found.append({name: room > 0 for name, room in meter.parts(tmp_path).items()})) < 4 * MIB
        assert found == [Weight(bytes=0, names=1800), {"": True, "f": False, "g": True, os.fsdecode(NAME): True}]
        assert meter.unreadable == 0
    finally:
        remove_tree(tmp_path / os.fsdecode(NAME))
