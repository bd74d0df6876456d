"""Files are written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.errors import StorageError
from runner.evidence.atomic import TEMPORARY_PREFIX, remove_leftovers, replacing, write_bytes, write_json, write_text
from runner.evidence.layout import RunLayout
from runner.evidence.records import Phase


def test_replaces_whole(tmp_path: Path) -> None:
    """A second write replaces the first, in folders that did not exist, and leaves nothing else behind."""
    path = tmp_path / "a" / "b" / "file"
    write_bytes(path, b"long long content")
    write_bytes(path, b"short")
    assert path.read_bytes() == b"short"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_failure_keeps_the_old_content(tmp_path: Path) -> None:
    """An error in the middle of a write leaves the old content and no temporary file."""
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        _fail_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_mode_follows_umask(tmp_path: Path, mask: int) -> None:
    """A written file gets the permissions any new file gets."""
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_unwritable_place_says_what_to_do(tmp_path: Path) -> None:
    """A folder that cannot be made is a StorageError with the path, the system's reason and a hint."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        write_text(tmp_path / "file" / "below", "x")
    assert caught.value.what == f"cannot write {tmp_path}/file/below"
    assert caught.value.why == "the system says: Not a directory"
    assert caught.value.hint


def _fail_half_way(path: Path) -> None:
    with replacing(path) as stream:
        stream.write(b"half")
        raise RuntimeError


def test_disk_full_says_so(tmp_path: Path) -> None:
    """A full disk is a StorageError whose hint is about space, and leaves nothing behind."""
    with pytest.raises(StorageError, match="No space left") as caught:
        _fill_the_disk(tmp_path / "file")
    assert caught.value.hint.startswith("free some space")
    assert not list(tmp_path.iterdir())


def _fill_the_disk(path: Path) -> None:
    with replacing(path), Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")


def test_json_of_models_and_mappings(tmp_path: Path) -> None:
    """Records and mappings become JSON that ends in a newline; text that is no UTF-8 stays readable by everyone."""
    phase = Phase(name="plan\udcff \u00fc", seconds=1.5, exit_code=None, detail="")
    write_json(tmp_path / "phase.json", phase)
    text = (tmp_path / "phase.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert Phase.model_validate_json(text).name == "plan\\udcff \u00fc"
    write_json(tmp_path / "map.json", {"b": 1, "a": None})
    assert json.loads((tmp_path / "map.json").read_text()) == {"b": 1, "a": None}


def test_json_refuses_what_is_no_number(tmp_path: Path) -> None:
    """A number that is not finite is refused, and no file appears."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_removes_only_own_leftovers(layout: RunLayout) -> None:
    """What a crash left of our writes is removed; files of such names in the workspace are the framework's."""
    name = TEMPORARY_PREFIX + "0123456789abcdef"
    ours = [layout.root / name, layout.step(1).root / name, layout.step(1).attempt(1).root / name]
    theirs = [layout.workspace / name, layout.step(1).outputs / name, layout.root / f"{TEMPORARY_PREFIX}other"]
    for path in [*ours, *theirs]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert sorted(remove_leftovers(layout.root)) == sorted(ours)
    assert [path for path in [*ours, *theirs] if path.exists()] == theirs
