"""What patterns leave out is gone from a scan as a whole, and counted."""

from __future__ import annotations

from pathlib import Path

from runner.evidence.archive import write_archive
from runner.evidence.contents import archived_contents, read_contents
from runner.evidence.excludes import split
from runner.evidence.layout import RunLayout
from runner.evidence.tree import scan
from runner.evidence.unpack import unpack
from runner.evidence.verify import verify_archive

PATTERNS = ("**/node_modules/**", "*.pyc", ".cache/")


def _fill(root: Path) -> None:
    for name in ("web/node_modules/a/x.js", "web/node_modules/y.js", "web/a.pyc", "web/b.pyc", "c.pyc", "main.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / ".cache").write_text("a file, no folder")
    (root / "deep" / ".cache").mkdir(parents=True)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    """A folder goes with all in it and is told once; files are told once per folder and pattern."""
    _fill(tmp_path)
    rest, skipped = split(scan(tmp_path), PATTERNS)
    assert sorted(rest.entries) == [b".cache", b"deep", b"main.py", b"web"]
    assert (rest.files, rest.bytes) == (2, len("main.py") + len("a file, no folder"))
    assert [str(one) for one in skipped] == [
        "c.pyc: excluded by *.pyc: 1 file, 5 bytes",
        "deep/.cache: excluded by .cache/: 0 files, 0 bytes",
        "web: excluded by *.pyc: 2 files, 18 bytes",
        "web/node_modules: excluded by **/node_modules/**: 2 files, 44 bytes",
    ]


def test_nothing_is_left_out_by_default(tmp_path: Path) -> None:
    """Without a pattern the scan is what it was."""
    _fill(tmp_path)
    found = scan(tmp_path)
    assert split(found, ()) == (found, ())


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A name that is not UTF-8 can be left out like any other."""
    with open(bytes(tmp_path) + b"/\xff.pyc", "wb"):  # noqa: PTH123  the name is no text
        pass
    assert split(scan(tmp_path), ("?.pyc",))[0].entries == {}


def test_an_archive_leaves_out_and_says_so(layout: RunLayout, tmp_path: Path) -> None:
    """Patterns are of workspace paths; everything else of the run is archived, and the manifest tells what is not."""
    _fill(layout.workspace)
    (layout.root / "steps").mkdir(exist_ok=True)
    (layout.root / "steps" / "kept.pyc").write_text("evidence")
    info = write_archive(layout, "zstd", exclude=PATTERNS)
    assert [str(one) for one in info.skipped][-1] == (
        "generated_artifacts/web/node_modules: excluded by **/node_modules/**: 2 files, 44 bytes"
    )
    assert verify_archive(info.path) == []
    unpack(info.path, tmp_path / "out")
    assert (tmp_path / "out" / "steps" / "kept.pyc").is_file()
    archived = archived_contents(info.path, layout.workspace.name)
    assert archived == read_contents(layout.workspace, PATTERNS) != read_contents(layout.workspace)
