"""The packer's bytes depend on what it is given, not on how, and its failures reach whoever gives."""

from __future__ import annotations

import hashlib
import io
import random

import pytest
import zstandard

from runner.evidence.compress import ZSTD_LEVEL
from runner.evidence.pack import CHUNK, Packer

DATA = random.Random(1).randbytes(CHUNK) + b"text " * CHUNK + bytes(3 * CHUNK + 7)


def _packed(kind: str, piece: int) -> tuple[bytes, str, str]:
    stream = io.BytesIO()
    with Packer(stream, kind) as packer:
        for start in range(0, len(DATA), piece):
            packer.write(DATA[start : start + piece])
        packer.close()
    assert packer.bytes == len(stream.getvalue())
    return stream.getvalue(), packer.sha256, packer.tar_sha256


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_cutting_does_not_matter(kind: str) -> None:
    """However the tar is handed over, the same file comes out, and its digests are its own."""
    whole = _packed(kind, len(DATA))
    assert {_packed(kind, piece) for piece in (1000, CHUNK, 3 * CHUNK + 1)} == {whole}
    assert whole[1] == hashlib.sha256(whole[0]).hexdigest()


def _fill(path: str) -> None:
    with open(path, "wb", buffering=0) as stream, Packer(stream, "zstd") as packer:  # noqa: PTH123  a device
        for _ in range(100):
            packer.write(random.Random(2).randbytes(CHUNK))
        packer.close()


def test_full_disk_is_told() -> None:
    """An error of the file reaches the writer, who does not wait for ever."""
    with pytest.raises(OSError, match="No space left"):
        _fill("/dev/full")


def test_threads_of_zstd_would_change_bytes() -> None:
    """Zstd's own threads give other bytes than none, the same for any number: so the number may not come from a machine."""
    found = []
    for threads in (0, 1, 2, 4):
        settings = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=threads, write_content_size=False)
        found.append(hashlib.sha256(settings.compress(DATA * 3)).hexdigest())
    assert found[0] != found[1]
    assert len(set(found[1:])) == 1
