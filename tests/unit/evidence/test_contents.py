"""Two workspaces are the same if every path holds the same, and otherwise it is said where they differ."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import StorageError
from runner.evidence.archive import write_archive
from runner.evidence.contents import archived_contents, differences, read_contents
from runner.evidence.layout import RunLayout


def _fill(root: Path) -> None:
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("print(1)\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "empty").mkdir()
    (root / "link").symlink_to("src/a.py")
    os.mkfifo(root / "fifo")
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"\0")


def test_equal_trees_are_equal(tmp_path: Path) -> None:
    """Times and permissions beyond `x` do not count."""
    for name in ("one", "two"):
        _fill(tmp_path / name)
    os.utime(tmp_path / "two" / "src" / "a.py", (1, 1))
    (tmp_path / "two" / "src" / "a.py").chmod(0o600)
    one, two = read_contents(tmp_path / "one"), read_contents(tmp_path / "two")
    assert one.sha256 == two.sha256
    assert differences(one, two) == []
    assert one.files == 3


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_an_archive_holds_the_same(tmp_path: Path, kind: str) -> None:
    """The workspace in an archive is the one in the directory."""
    layout = RunLayout(tmp_path / "run")
    _fill(layout.workspace)
    write_archive(layout, kind)
    archived = archived_contents(layout.archive(kind), layout.workspace.name)
    assert archived == read_contents(layout.workspace)


def test_each_difference_is_named(tmp_path: Path) -> None:
    """Content, the executable bit, a link's target, a kind and a path on one side alone are all told."""
    one, two = tmp_path / "one", tmp_path / "two"
    _fill(one)
    _fill(two)
    (two / "src" / "a.py").write_text("print(2)\n")
    (two / "run.sh").chmod(0o644)
    (two / "link").unlink()
    (two / "link").symlink_to("src")
    (two / "empty").rmdir()
    (two / "empty").write_text("")
    (one / "gone").write_text("x")
    (two / "new").write_text("x")
    assert differences(read_contents(one), read_contents(two)) == [
        ("empty", "a folder in the first, a file in the second"),
        ("gone", "only in the first"),
        ("link", "differs"),
        ("new", "only in the second"),
        ("run.sh", "differs"),
        ("src/a.py", "differs"),
    ]


def test_what_is_no_archive(tmp_path: Path) -> None:
    """A file that is no archive has no contents, and is named."""
    path = tmp_path / "run.tar.zst"
    path.write_bytes(b"no archive")
    with pytest.raises(StorageError, match="manifest cannot be used") as caught:
        archived_contents(path, "generated_artifacts")
    assert caught.value.where == str(path)
