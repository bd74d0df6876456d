"""The content-addressed cache."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from runner.errors import ImageError
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


def test_two_who_want_the_same_lock_take_turns(tmp_path: Path) -> None:
    """The second holder of a lock starts only after the first has ended."""
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait(5)
        with cas.locked(tmp_path, "demo"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with cas.locked(tmp_path, "demo"):
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
