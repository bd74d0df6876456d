"""Bodies are kept once, redacted, and read back only if they are whole."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.recordings import keep

from runner.errors import ConfigError, StorageError
from runner.gateway.bodies import LARGEST, Bodies, body_path, read_body

TOKEN = "run-AbC_0123456789/xyz"


@given(data=st.binary(max_size=4096))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_what_is_kept_is_read_back(tmp_path: Path, data: bytes) -> None:
    """Any bytes without a secret come back as they were, under their own digest."""
    digest = keep(Bodies(tmp_path, "full", [], [TOKEN]), data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert read_body(tmp_path, digest) == data


@pytest.mark.parametrize("written", ["run-AbC_0123456789/xyz", r"run-AbC_0123456789\/xyz", "run-AbC_0123456789%2Fxyz"])
def test_secrets_are_taken_out_however_they_are_written(tmp_path: Path, written: str) -> None:
    """A secret is in no kept body: plain, with JSON's escaped slash, or quoted for a URL; the digest is of the rest."""
    digest = keep(Bodies(tmp_path, "full", [], [TOKEN]), f'{{"key": "{written}", "more": 1}}'.encode())
    assert digest is not None
    assert read_body(tmp_path, digest) == b'{"key": "[redacted]", "more": 1}'


def test_patterns_are_taken_out(tmp_path: Path) -> None:
    """What a configured pattern matches is redacted, in bodies that are no UTF-8 as well, and the rest stays as it is."""
    bodies = Bodies(tmp_path, "full", [r"[\w.]+@[\w.]+", "größe"], [])
    assert bodies.redact("an@example.org, größe 3".encode() + b"\xff") == b"[redacted], [redacted] 3\xff"


def test_one_file_per_body(tmp_path: Path) -> None:
    """A body that comes again is not written again, and nothing unfinished stays."""
    bodies = Bodies(tmp_path / "llm" / "bodies", "full", [], [])
    first = keep(bodies, b"the same")
    assert first is not None
    written = body_path(bodies.folder, first).stat().st_ino
    assert keep(bodies, b"the same") == first
    assert [path.name for path in bodies.folder.iterdir()] == [f"{first}.zst"]
    assert body_path(bodies.folder, first).stat().st_ino == written


def test_modes(tmp_path: Path) -> None:
    """With `digest` there is the digest and no file, with `off` neither."""
    assert keep(Bodies(tmp_path / "b", "digest", [], []), b"x") == hashlib.sha256(b"x").hexdigest()
    assert keep(Bodies(tmp_path / "b", "off", [], []), b"x") is None
    assert not (tmp_path / "b").exists()


def test_a_missing_body(tmp_path: Path) -> None:
    """A body that is not there is named with its file and what to do."""
    with pytest.raises(ConfigError, match="a recorded body is missing") as caught:
        read_body(tmp_path, "0" * 64)
    assert caught.value.where == str(tmp_path / f"{'0' * 64}.zst")
    assert "archive" in caught.value.hint


def test_no_digest_is_no_path(tmp_path: Path) -> None:
    """What a foreign calls file names as a digest cannot lead out of the folder."""
    (tmp_path / "secret.zst").write_bytes(zstandard.compress(b"x"))
    with pytest.raises(ConfigError, match="is no digest of a body"):
        read_body(tmp_path / "bodies", "../secret")


@pytest.mark.parametrize(
    "content", [b"no zstd at all", zstandard.compress(b"another"), zstandard.compress(b"w" * 99)[:-4]]
)
def test_a_damaged_body(tmp_path: Path, content: bytes) -> None:
    """A body that is cut, changed or no compressed file at all is not taken for the recorded one."""
    digest = hashlib.sha256(b"w" * 99).hexdigest()
    body_path(tmp_path, digest).write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        read_body(tmp_path, digest)


def test_a_bomb_is_not_unpacked_whole(tmp_path: Path) -> None:
    """A file that claims to be larger than any body ends as a damaged one, not in the memory."""
    bomb = b"\0" * (LARGEST + 2)
    digest = hashlib.sha256(bomb).hexdigest()
    body_path(tmp_path, digest).write_bytes(zstandard.compress(bomb))
    with pytest.raises(StorageError, match="damaged"):
        read_body(tmp_path, digest)
