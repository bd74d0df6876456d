"""What stands first in a tar can be known last, and nothing of that is to be seen in the bytes."""

from __future__ import annotations

import hashlib
import io
import tempfile
from pathlib import Path

import pytest

from runner.evidence import body as body_module
from runner.evidence.body import Body
from runner.evidence.compress import decompressed
from runner.evidence.pack import CHUNK
from runner.evidence.tarformat import trailer

HEAD = b"h" * 512


def _write(path: Path, kind: str, pieces: list[bytes]) -> tuple[bytes, str, str]:
    with path.open("wb") as stream, Body(kind) as body:
        for piece in pieces:
            body.write(piece)
        packed = body.finish(HEAD, stream)
    assert packed.bytes == path.stat().st_size
    return path.read_bytes(), packed.sha256, packed.tar_sha256


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_the_whole_is_the_tar(tmp_path: Path, kind: str) -> None:
    """Head, pieces and the end of the tar come out in this order, with the digests of the tar and of the file."""
    content = bytes(range(256)) * 8 * 1200
    data, sha256, tar_sha256 = _write(tmp_path / "x", kind, [content])
    with decompressed(tmp_path / "x") as stream:
        tar = stream.read()
    assert tar == HEAD + content + trailer(len(HEAD) + len(content))
    assert (sha256, tar_sha256) == (hashlib.sha256(data).hexdigest(), hashlib.sha256(tar).hexdigest())


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_however_it_is_cut(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the size of the pieces nor how much is remembered changes a byte."""
    content = bytes(range(256)) * 4096 * 3
    whole = _write(tmp_path / "whole", kind, [content])
    cut = [content[start : start + 70_000] for start in range(0, len(content), 70_000)]
    assert _write(tmp_path / "cut", kind, cut) == whole
    monkeypatch.setattr(body_module, "_REMEMBERED", 2)
    monkeypatch.setattr(body_module, "_SPOOLED", 1000)
    assert _write(tmp_path / "large", kind, cut) == whole


def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in the thread that compresses is raised where the pieces come from, and nothing hangs."""

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda _: Full())

    def pack() -> None:
        with Body("gzip") as body:
            for _ in range(300):
                body.write(hashlib.sha256(b"x").digest() * (CHUNK // 32))
            body.finish(HEAD, io.BytesIO())

    with pytest.raises(OSError, match="No space left"):
        pack()
