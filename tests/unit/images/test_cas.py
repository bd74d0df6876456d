"""The content-addressed cache."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from runner.errors import ImageError, StorageError
from runner.images import cas

CONTENT = b"an artifact\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def _cached(tmp_path: Path) -> Path:
    source = tmp_path / "fetched"
    source.write_bytes(CONTENT)
    return cas.ingest(tmp_path, source, SHA256, name="thing.whl")


def test_an_artifact_comes_back_under_its_hash(tmp_path: Path) -> None:
    """What was ingested is found, whole, at the path its hash gives."""
    path = _cached(tmp_path)
    assert path == tmp_path / "cas" / "sha256" / SHA256[:2] / SHA256
    assert cas.has(tmp_path, SHA256)
    assert cas.verified(tmp_path, SHA256, name="thing.whl", refetch="demo").read_bytes() == CONTENT


@pytest.mark.parametrize("damaged", [b"an artifacT\n", CONTENT[:-1], b""], ids=["tampered", "truncated", "emptied"])
def test_a_damaged_artifact_is_refused_by_name(tmp_path: Path, damaged: bytes) -> None:
    """An artifact whose bytes changed is named, with both hashes and the command that fetches it again."""
    path = _cached(tmp_path)
    path.chmod(0o644)
    path.write_bytes(damaged)
    with pytest.raises(ImageError) as caught:
        cas.verified(tmp_path, SHA256, name="thing.whl", refetch="demo")
    assert str(caught.value) == (
        "thing.whl in the cache is not what the lock asks for\n"
        f"{path} has {len(damaged)} bytes with sha256 {hashlib.sha256(damaged).hexdigest()}; the lock says {SHA256}.\n"
        "Remove that file and run: runner images fetch demo"
    )


def test_a_missing_artifact_says_how_to_get_it(tmp_path: Path) -> None:
    """An artifact that was never fetched is reported as absent, with the command that fetches it."""
    with pytest.raises(ImageError, match=r"^thing\.whl is not in the cache\n") as caught:
        cas.verified(tmp_path, SHA256, name="thing.whl", refetch="demo")
    assert str(caught.value).endswith("\nRun: runner images fetch demo")


def test_a_file_that_does_not_fit_its_hash_is_not_taken_in(tmp_path: Path) -> None:
    """A download whose bytes differ from the lock never gets into the cache."""
    source = tmp_path / "fetched"
    source.write_bytes(b"something else")
    with pytest.raises(ImageError, match=r"what was fetched as thing\.whl does not fit its hash"):
        cas.ingest(tmp_path, source, SHA256, name="thing.whl")
    assert not cas.has(tmp_path, SHA256)


def test_a_scratch_folder_is_removed_after_use(tmp_path: Path) -> None:
    """Neither the folder nor its lock file outlives the block that asked for it, even if that failed."""
    with pytest.raises(FileNotFoundError), cas.scratch(tmp_path, "demo") as folder:
        (folder / "missing").read_text()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """A scratch folder whose lock nobody holds goes; one in use, and one too young to judge, stay."""
    parent = tmp_path / "tmp"
    parent.mkdir()
    for name, age in (("old", 3600), ("young", 0)):
        (parent / name).mkdir()
        (parent / f"{name}.alive").touch()
        os.utime(parent / f"{name}.alive", (time.time() - age,) * 2)
    with cas.scratch(tmp_path, "used") as used:
        os.utime(parent / f"{used.name}.alive", (1, 1))
        with cas.scratch(tmp_path, "demo"):
            left = {path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("demo")}
    assert left == {"young", used.name}


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where the cache should be is a storage error that says how to choose another place."""
    (tmp_path / "cache").write_text("")
    with pytest.raises(StorageError, match="Set XDG_CACHE_HOME to another place"), cas.scratch(tmp_path / "cache", "x"):
        pass
