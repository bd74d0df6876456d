"""Run directories are put aside whole, never deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import StorageError
from runner.evidence.superseded import set_aside


def _run(output: Path, text: str) -> Path:
    root = output / "fake" / "crud-r1"
    root.mkdir(parents=True)
    (root / "file").write_text(text)
    return root


def test_numbers_count_up(tmp_path: Path) -> None:
    """Each run directory that is put aside keeps its content under the next number."""
    places = [set_aside(tmp_path, _run(tmp_path, text)) for text in ("first", "second")]
    assert places == [tmp_path / ".superseded" / "fake" / f"crud-r1.{number}" for number in (1, 2)]
    assert [(place / "file").read_text() for place in places] == ["first", "second"]
    assert not (tmp_path / "fake" / "crud-r1").exists()


def test_two_at_once(tmp_path: Path) -> None:
    """Of several that put the same directory aside, one does, the others are refused, and nothing is overwritten."""
    root = _run(tmp_path, "only")

    def one(_: int) -> bool:
        try:
            set_aside(tmp_path, root)
        except StorageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 1
    kept = list((tmp_path / ".superseded" / "fake").iterdir())
    assert len(kept) == 1
    assert (kept[0] / "file").read_text() == "only"


@pytest.mark.parametrize("root", ["elsewhere/fake/run", "output/run", "output/a/b/c"])
def test_refuses_what_is_no_run(tmp_path: Path, root: str) -> None:
    """Only `<output>/<framework>/<run_id>` is moved."""
    with pytest.raises(StorageError, match="is no run directory of"):
        set_aside(tmp_path / "output", tmp_path / root)
