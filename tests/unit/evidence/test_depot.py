"""An archive that goes elsewhere is read back there, and never takes another's place."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from runner.errors import ConfigError, StorageError
from runner.evidence.atomic import write_json
from runner.evidence.depot import Depot, deposit, open_depot
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.verify import verify_archive

NAME = "fake/crud-r1-0123456789.tar.zst"


@pytest.fixture
def finished(layout: RunLayout, record: RunRecord) -> RunLayout:
    """Return a run directory with a product in it and no archive."""
    layout.workspace.mkdir(parents=True, exist_ok=True)
    (layout.workspace / "product.txt").write_text("made")
    write_json(layout.metadata, record)
    return layout


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_archive_is_whole_where_it_went(tmp_path: Path, finished: RunLayout, record: RunRecord) -> None:
    """A run without an archive gets one; what is elsewhere is that archive, with a digest file that says so."""
    shown = deposit(open_depot(str(tmp_path / "depot")), finished, record)
    path = tmp_path / "depot" / NAME
    assert shown == str(path)
    assert verify_archive(path) == []
    assert _digest(path) == _digest(finished.archive("zstd"))
    assert path.with_name(f"{path.name}.sha256").read_text() == f"{_digest(path)}  {path.name}\n"


def test_what_is_there_is_not_written_again(tmp_path: Path, finished: RunLayout, record: RunRecord) -> None:
    """The second time nothing is copied; another archive under that name stays, and this one is put beside it."""
    depot = open_depot(f"file://{tmp_path}/depot")
    deposit(depot, finished, record)
    path = tmp_path / "depot" / NAME
    before = path.stat().st_ino
    deposit(depot, finished, record)
    assert path.stat().st_ino == before
    path.write_bytes(b"another")
    shown = Path(deposit(depot, finished, record))
    assert path.read_bytes() == b"another"
    assert shown.name == f"crud-r1-0123456789.{_digest(shown)[:12]}.tar.zst"


def test_a_damaged_archive_is_not_taken_along(tmp_path: Path, finished: RunLayout, record: RunRecord) -> None:
    """A run whose archive has lost bytes is archived again from its directory."""
    depot = open_depot(str(tmp_path / "depot"))
    deposit(depot, finished, record)
    finished.archive("zstd").write_bytes(finished.archive("zstd").read_bytes()[:-10])
    shutil.rmtree(tmp_path / "depot")
    assert verify_archive(Path(deposit(depot, finished, record))) == []


class _Forgetful:
    """A place that loses the last byte of what it stores."""

    def __init__(self, inner: Depot, folder: Path) -> None:
        self._inner = inner
        self._folder = folder

    def store(self, name: str, source: Path) -> None:
        self._inner.store(name, source)
        path = self._folder / name
        path.write_bytes(path.read_bytes()[:-1])

    def digest(self, name: str) -> str | None:
        return self._inner.digest(name)

    def show(self, name: str) -> str:
        return self._inner.show(name)


def test_what_reads_back_otherwise_is_an_error(tmp_path: Path, finished: RunLayout, record: RunRecord) -> None:
    """A place that did not keep what was written there is found out before anybody relies on it."""
    depot = _Forgetful(open_depot(str(tmp_path / "depot")), tmp_path / "depot")
    with pytest.raises(StorageError, match="is not what was written there") as caught:
        deposit(depot, finished, record)
    assert "the run stays" in caught.value.hint


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, finished: RunLayout, record: RunRecord) -> None:
    """A file where the folder should be is an error of storage with the path."""
    (tmp_path / "depot").write_text("")
    with pytest.raises(StorageError, match=r"cannot (read|write) .*/depot/fake"):
        deposit(open_depot(str(tmp_path / "depot")), finished, record)


def test_a_url_goes_through_fsspec(tmp_path: Path, finished: RunLayout, record: RunRecord) -> None:
    """Any file system of that package takes archives, and is read back."""
    pytest.importorskip("fsspec")
    place = f"local://{tmp_path}/lab"
    depot = open_depot(place)
    assert deposit(depot, finished, record) == f"{place}/{NAME}"
    assert depot.digest(NAME) == _digest(finished.archive("zstd"))
    assert depot.digest("fake/none.tar.zst") is None
    deposit(depot, finished, record)
    assert sorted(path.name for path in (tmp_path / "lab/fake").iterdir()) == [NAME[5:], f"{NAME[5:]}.sha256"]
    (tmp_path / "lab/other").write_text("")
    with pytest.raises(StorageError, match="cannot write local://") as caught:
        depot.store("other/file", finished.metadata)
    assert "the run stays" in caught.value.hint


@pytest.mark.parametrize("place", ["nonsense://x/y", "s3://bucket/runs", "memory://x"])
def test_a_protocol_that_cannot_be_used_is_named(place: str) -> None:
    """Unknown, in want of a package, or forgetful: the message has the place, and what to do, before anything goes."""
    with pytest.raises(ConfigError) as caught:
        open_depot(place)
    assert caught.value.what == f"cannot archive to {place}"
    assert "folder" in caught.value.hint
