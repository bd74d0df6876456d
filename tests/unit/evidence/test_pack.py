"""The packer's bytes depend on what it is given, not on how, and its failures reach whoever gives."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import zstandard

from runner.evidence.compress import ZSTD_LEVEL, decompressed_stream, kind_of, last_frame
from runner.evidence.pack import CHUNK, Packer, ReadError
from runner.evidence.tarformat import trailer

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


@pytest.mark.parametrize("size", [0, 1, CHUNK - 512, CHUNK - 511, CHUNK, 40 * CHUNK + 7])
def test_files_are_read_to_where_they_belong(tmp_path: Path, size: int) -> None:
    """A header and a file's bytes come out as if they had been pieces, wherever a chunk ends, with the file's digest."""
    content = hashlib.shake_128(b"x").digest(min(size, CHUNK)) * max(1, size // CHUNK)
    (tmp_path / "file").write_bytes(content)
    for before in (b"", b"b" * (CHUNK - 512), b"b" * (CHUNK - 100), b"b" * CHUNK):
        digest = hashlib.sha256()
        stream = io.BytesIO()
        with (tmp_path / "file").open("rb") as file, Packer(stream, "zstd") as packer:
            packer.write(before)
            assert packer.read(b"h" * 512, file.fileno(), len(content), digest) == 0
            packer.write(b"after")
            packer.close()
        tar = before + b"h" * 512 + content + b"after"
        with decompressed_stream(io.BytesIO(stream.getvalue()), "zstd") as reader:
            assert reader.read() == tar + trailer(len(tar))
        assert digest.hexdigest() == hashlib.sha256(content).hexdigest()
        assert packer.tar_sha256 == hashlib.sha256(tar + trailer(len(tar))).hexdigest()


def test_what_is_missing_of_a_file_is_told(tmp_path: Path) -> None:
    """A file that is shorter than it was leaves so many bytes; what cannot be read at all takes no room in the tar."""
    (tmp_path / "file").write_bytes(b"12345")
    folder = os.open(tmp_path, os.O_RDONLY)
    with (tmp_path / "file").open("rb") as file, Packer(io.BytesIO(), "zstd") as packer:
        with pytest.raises(ReadError) as caught:
            packer.read(b"h" * 512, folder, 10, hashlib.sha256())
        assert (caught.value.strerror, caught.value.begun) == ("Is a directory", False)
        assert packer.read(b"h" * 512, file.fileno(), 7, hashlib.sha256()) == 2
        packer.close()
    os.close(folder)
    tar = b"h" * 512 + b"12345"
    assert packer.tar_sha256 == hashlib.sha256(tar + trailer(len(tar))).hexdigest()


@pytest.mark.parametrize("before", [CHUNK - 512, CHUNK - 100, CHUNK - 513])
def test_a_header_is_not_taken_for_what_cannot_be_read(tmp_path: Path, before: int) -> None:
    """What opens and cannot be read leaves nothing in the tar, also if its header fills a chunk or reaches beyond it."""
    folder = os.open(tmp_path, os.O_RDONLY)
    with Packer(io.BytesIO(), "zstd") as packer:
        packer.write(b"b" * before)
        with pytest.raises(ReadError) as caught:
            packer.read(b"h" * 512, folder, 10, hashlib.sha256())
        packer.close()
    os.close(folder)
    assert (caught.value.strerror, caught.value.begun) == ("Is a directory", False)
    assert packer.tar_sha256 == hashlib.sha256(b"b" * before + trailer(before)).hexdigest()


class _Strange(io.BytesIO):
    def write(self, *_: object) -> int:
        raise LookupError("an error that nobody foresaw")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("chunks", [0, 1, 40])
def test_a_thread_that_ends_too_soon_is_no_good_end(chunks: int) -> None:
    """Whatever ends the thread that packs, the writer gets an error and does not wait for ever."""

    def pack() -> None:
        with Packer(_Strange(), "gzip") as packer:
            for _ in range(chunks):
                packer.write(random.Random(3).randbytes(CHUNK))
            packer.close()

    with pytest.raises(OSError, match="ended too soon"):
        pack()


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
@pytest.mark.parametrize("body", [b"", b"b" * 512, DATA[: 3 * CHUNK]])
def test_the_last_part_is_found(kind: str, body: bytes) -> None:
    """What stands last can be read alone, the whole is one stream to every reader, and what was cut off leads nowhere."""
    last = b"last" * 128
    stream = io.BytesIO()
    with Packer(stream, kind) as packer:
        packer.write(body)
        packer.close(last)
    data, tar = stream.getvalue(), body + last + trailer(len(body) + len(last))
    assert kind_of(stream) == kind
    with decompressed_stream(stream, kind) as reader:
        assert reader.read() == tar
    assert packer.tar_sha256 == hashlib.sha256(tar).hexdigest()
    assert (packer.sha256, packer.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    place = last_frame(stream, kind)
    assert place is not None
    stream.seek(place)
    with decompressed_stream(stream, kind) as reader:
        assert reader.read() == tar[len(body) :]
    for damaged in (data[:-1], b"", b"x" * 30):
        assert last_frame(io.BytesIO(damaged), kind) is None


@pytest.mark.processes
@pytest.mark.parametrize(("kind", "program"), [("zstd", "zstd"), ("gzip", "gzip")])
def test_other_programs_pass_over_the_end(kind: str, program: str) -> None:
    """The system's own programs read what is in it, and say nothing of the note at its end."""
    if not shutil.which(program):
        pytest.skip(f"no {program} on this machine")
    stream = io.BytesIO()
    with Packer(stream, kind) as packer:
        packer.write(b"b" * 512)
        packer.close(b"l" * 512)
    done = subprocess.run([program, "-dc"], input=stream.getvalue(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"b" * 512 + b"l" * 512 + trailer(1024)
