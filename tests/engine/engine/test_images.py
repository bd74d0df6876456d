"""Images on Docker: built, saved, loaded, removed."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator

import pytest

from runner.engine.images import config_digest
from runner.engine.protocol import Engine, NotFound
from runner.errors import ImageError
from runner.testing.lab import LABEL

pytestmark = pytest.mark.engine


@pytest.fixture
def tag(engine: Engine) -> Iterator[str]:
    """A tag of this test's own; the image goes with it."""
    name = f"cgr-conformance/{secrets.token_hex(4)}:1"
    yield name
    engine.images.remove(name)


def _context(dockerfile: str) -> io.BytesIO:
    file = io.BytesIO()
    data = dockerfile.encode()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in (("Dockerfile", data), ("data", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    file.seek(0)
    return file


def _build(
    engine: Engine, tag: str, dockerfile: str = "FROM scratch\nARG WORD\nLABEL word=$WORD\nCOPY data /\n"
) -> str:
    return "".join(engine.images.build(_context(dockerfile), args={"WORD": "hi"}, labels={LABEL: tag}, tag=tag))


def test_build_find_remove(engine: Engine, tag: str) -> None:
    """An image is built with arguments and labels, found by them, and gone after removal."""
    log = _build(engine, tag)
    assert "Successfully built" in log
    image = engine.images.inspect(tag)
    assert image is not None
    assert image.labels == {LABEL: tag, "word": "hi"}
    assert image.tags == (tag,)
    assert engine.images.find({LABEL: tag}) == [image]
    engine.images.remove(tag)
    assert engine.images.find({LABEL: tag}) == []


def test_save_and_load(engine: Engine, tag: str) -> None:
    """An image that is saved, removed and loaded has the same id, and its archive names its config."""
    _build(engine, tag)
    before = engine.images.inspect(tag)
    assert before is not None
    archive = b"".join(engine.images.transfer(save=tag))
    assert config_digest(io.BytesIO(archive)) == before.config_digest
    engine.images.remove(tag)
    assert engine.images.inspect(tag) is None
    said = b"".join(engine.images.transfer(io.BytesIO(archive)))
    assert tag.encode() in said
    after = engine.images.inspect(tag)
    assert after is not None
    assert after.id == before.id


def test_a_failed_build_tells(engine: Engine, tag: str) -> None:
    """A build that fails names the tag and leaves no image."""
    with pytest.raises(ImageError, match=f"building {tag} failed"):
        _build(engine, tag, "FROM scratch\nCOPY absent /\n")
    assert engine.images.inspect(tag) is None


def test_a_bad_archive_is_refused(engine: Engine) -> None:
    """An archive that is none is an error of the image, and saving a missing image is NotFound."""
    with pytest.raises(NotFound):
        engine.images.transfer(save="cgr-conformance/none:1")
    with pytest.raises(ImageError):
        engine.images.transfer(io.BytesIO(b"no archive" * 1000))


def test_builds_have_no_network(engine: Engine, engine_image: str, tag: str) -> None:
    """A build step sees loopback only."""
    assert " lo\n" in _build(engine, tag, f'FROM {engine_image}\nRUN echo " $(ls /sys/class/net)"\n')
