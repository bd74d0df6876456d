"""Images on their way to another machine: several in one compressed archive, each layer once, the same bytes every time.

Format: image archive of Docker image specification 1.2 with several images in its manifest.json, compressed with zstd;
`zstd -dc FILE | docker load` opens it too.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from runner.engine.protocol import Engine
from runner.errors import ImageError
from runner.images.cas import copy_range
from runner.images.saved import Layer, read_saved
from runner.images.tarball import Entry, archive

_LEVEL = 3
_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class _Image:
    """An image as it came out of the engine."""

    tag: str
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def config_path(self) -> str:
        return f"{hashlib.sha256(self.config).hexdigest()}.json"


def write_images(engine: Engine, images: Mapping[str, str], target: Path) -> None:
    """Write images to one new file.

    Args:
        engine: that has them.
        images: tag of each image by its config digest, `sha256:...`.
        target: the file; several times the images' size is needed beside it while it is written.

    Raises:
        ImageError: if the engine has not exactly these images.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        found = [
            _save(engine, tag, digest, Path(folder) / f"{number}.tar")
            for number, (digest, tag) in enumerate(sorted(images.items()))
        ]
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        with target.open("xb") as stream:
            for chunk in archive(_members(found)):
                stream.write(compressor.compress(chunk))
            stream.write(compressor.flush())


def load_images(engine: Engine, source: Path, images: Mapping[str, str]) -> None:
    """Give the images of a file to the engine.

    Args:
        engine: that gets them.
        source: a file that `write_images` has written.
        images: tag by digest of those that have to be in it.

    Raises:
        ImageError: if the engine refuses them, or has not each of them under its digest afterwards.
    """
    try:
        with source.open("rb") as stream, zstandard.ZstdDecompressor().stream_reader(stream) as plain:
            for _ in engine.images.transfer(plain):
                continue
    except zstandard.ZstdError as error:
        raise ImageError(f"{source.name} is damaged", why=str(error), hint="take another copy of it") from None
    for digest, tag in images.items():
        if engine_id(engine, digest, tag) is None:
            raise ImageError(
                f"the engine has no image {digest} after loading it",
                why="the file holds another image than it says, or the engine keeps images under other ids",
            )


def engine_id(engine: Engine, digest: str, tag: str) -> str | None:
    """Return what the engine calls the image with this config digest; None if it has it not.

    Args:
        engine: where to look.
        digest: `sha256:...`.
        tag: under which an engine knows it that does not by its digest; empty if that is not known.
    """
    for name in (digest, tag):
        found = engine.images.inspect(name) if name else None
        if found is not None and found.config_digest == digest:
            return found.id
    return None


def _save(engine: Engine, tag: str, digest: str, file: Path) -> _Image:
    name = engine_id(engine, digest, tag)
    if name is None:
        raise ImageError(f"the engine has not the image {tag}, {digest}", hint="export --without-images")
    with file.open("xb") as stream:
        for chunk in engine.images.transfer(save=name):
            stream.write(chunk)
    config = _config(file)
    if f"sha256:{hashlib.sha256(config).hexdigest()}" != digest:
        raise ImageError(f"the engine saved another image than {digest} for {tag}")
    return _Image(tag=tag, config=config, layers=read_saved(file).layers)


def _config(file: Path) -> bytes:
    """Return the configuration of the one image in an archive, byte for byte."""
    with tarfile.open(file, "r:") as outer:
        manifest = outer.extractfile(_MANIFEST)
        name = json.loads(manifest.read() if manifest else b"[{}]")[0].get("Config", "")
        content = outer.extractfile(name)
        return content.read() if content else b""


def _members(images: Sequence[_Image]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    configs = {one.config_path: one.config for one in images}
    layers = {layer.diff_id: layer for one in images for layer in one.layers}
    manifest = json.dumps(
        [
            {"Config": one.config_path, "Layers": [_layer_path(layer) for layer in one.layers], "RepoTags": [one.tag]}
            for one in images
        ]
    ).encode()
    for name, config in sorted(configs.items()):
        yield Entry(path=name, size=len(config)), iter((config,))
    for _, layer in sorted(layers.items()):
        yield Entry(path=_layer_path(layer), size=layer.size), _content(layer)
    yield Entry(path=_MANIFEST, size=len(manifest)), iter((manifest,))


def _layer_path(layer: Layer) -> str:
    return f"{layer.diff_id.removeprefix('sha256:')}/layer.tar"


def _content(layer: Layer) -> Iterator[bytes]:
    with layer.file.open("rb") as file:
        yield from copy_range(file, layer.offset, layer.size)
