"""Images on their way to another machine."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from runner.errors import ImageError
from runner.images.saved import config_json, image_id, layer_of, load_archive
from runner.images.shipping import engine_id, load_images, write_images
from runner.testing import FakeEngine

TAG = "codegen-runner/alpha:1"


@pytest.fixture
def image(tmp_path: Path) -> tuple[FakeEngine, str]:
    """Return an engine with one image of two layers, and the image's digest."""
    engine = FakeEngine()
    layers = []
    for name in ("lower", "upper"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
        layers.append(layer_of(tmp_path / name))
    config = config_json(layers, date=0, labels={"a": "b"})
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"".join(load_archive(config, layers, TAG)))
    with archive.open("rb") as stream:
        list(engine.images.transfer(stream))
    return engine, image_id(config)


def test_another_engine_gets_the_same_image(image: tuple[FakeEngine, str], tmp_path: Path) -> None:
    """An image keeps its digest on the way, and the file is the same whenever it is written."""
    engine, digest = image
    write_images(engine, {digest: TAG}, tmp_path / "one")
    write_images(engine, {digest: TAG}, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    other = FakeEngine()
    load_images(other, tmp_path / "one", {digest: TAG})
    assert engine_id(other, digest, TAG) == digest


def test_an_image_that_is_not_there(image: tuple[FakeEngine, str], tmp_path: Path) -> None:
    """An image is found by its digest alone: the same tag on another one does not make it the same."""
    engine, _ = image
    wanted = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    with pytest.raises(ImageError, match="has not the image"):
        write_images(engine, {wanted: TAG}, tmp_path / "one")


def test_a_file_with_another_image(image: tuple[FakeEngine, str], tmp_path: Path) -> None:
    """If the engine has not the image after loading, that is said; it is not taken for the right one."""
    engine, digest = image
    write_images(engine, {digest: TAG}, tmp_path / "one")
    with pytest.raises(ImageError, match="has no image sha256:0"):
        load_images(FakeEngine(), tmp_path / "one", {"sha256:0": TAG})


def test_other_programs_open_the_file(image: tuple[FakeEngine, str], tmp_path: Path) -> None:
    """Decompressed it is an archive for `docker load`, each layer once under its digest."""
    engine, digest = image
    write_images(engine, {digest: TAG}, tmp_path / "one")
    plain = zstandard.ZstdDecompressor().stream_reader((tmp_path / "one").read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        names = tar.getnames()
    assert names[0] == f"{digest.removeprefix('sha256:')}.json"
    assert names[-1] == "manifest.json"
    assert len([name for name in names if name.endswith("/layer.tar")]) == 2


def test_a_file_that_is_not_compressed(tmp_path: Path) -> None:
    """A file that zstd cannot read is refused by its name."""
    (tmp_path / "images.tar.zst").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(ImageError, match=r"images.tar.zst is damaged"):
        load_images(FakeEngine(), tmp_path / "images.tar.zst", {"sha256:0": TAG})
