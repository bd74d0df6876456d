"""What stands first in a tar can be known last, and nothing of that is to be seen in the bytes."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path

import pytest

from runner.evidence import body as body_module
from runner.evidence.body import Body, ReadError
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

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    monkeypatch.setattr(body_module, "_SPOOLED", 0)

    def pack() -> None:
        with Body("gzip") as body:
            for _ in range(300):
                body.write(hashlib.sha256(b"x").digest() * (CHUNK // 32))
            body.finish(HEAD, io.BytesIO())

    with pytest.raises(OSError, match="No space left"):
        pack()


@pytest.mark.parametrize("remembered", [2, 128])
@pytest.mark.parametrize("size", [0, 1, CHUNK - 512, CHUNK - 511, CHUNK, 3 * CHUNK + 7])
def test_files_are_read_to_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, remembered: int
) -> None:
    """A header and a file's bytes come out as if they had been pieces, wherever a chunk ends, with the file's digest."""
    monkeypatch.setattr(body_module, "_REMEMBERED", remembered)
    content = hashlib.shake_128(b"x").digest(size)
    (tmp_path / "file").write_bytes(content)
    for before in (b"", b"b" * (CHUNK - 512), b"b" * (CHUNK - 100), b"b" * CHUNK):
        with (tmp_path / "x").open("wb") as stream, (tmp_path / "file").open("rb") as file, Body("zstd") as body:
            body.write(before)
            digest = hashlib.sha256()
            assert body.read(b"h" * 512, file.fileno(), size, digest) == 0
            body.write(b"after")
            packed = body.finish(HEAD, stream)
        tar = HEAD + before + b"h" * 512 + content + b"after"
        with decompressed(tmp_path / "x") as stream:
            assert stream.read() == tar + trailer(len(tar))
        assert digest.hexdigest() == hashlib.sha256(content).hexdigest()
        assert packed.tar_sha256 == hashlib.sha256(tar + trailer(len(tar))).hexdigest()


def test_what_is_missing_of_a_file_is_told(tmp_path: Path) -> None:
    """A file that is shorter than it was leaves so many bytes; what cannot be read at all takes no room in the tar."""
    (tmp_path / "file").write_bytes(b"12345")
    folder = os.open(tmp_path, os.O_RDONLY)
    with (tmp_path / "x").open("wb") as stream, (tmp_path / "file").open("rb") as file, Body("zstd") as body:
        with pytest.raises(ReadError) as caught:
            body.read(b"h" * 512, folder, 10, hashlib.sha256())
        assert (caught.value.why, caught.value.begun) == ("Is a directory", False)
        assert body.read(b"h" * 512, file.fileno(), 7, hashlib.sha256()) == 2
        packed = body.finish(HEAD, stream)
    os.close(folder)
    tar = HEAD + b"h" * 512 + b"12345"
    assert packed.tar_sha256 == hashlib.sha256(tar + trailer(len(tar))).hexdigest()
