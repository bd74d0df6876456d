"""Images of the fake engine, kept in memory; archives are read as `docker save` writes them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO

from runner.engine.protocol import ImageInfo, NotFound
from runner.errors import ImageError

_CREATED = "2020-01-01T00:00:00Z"


class FakeImages:
    """Images by id and tag."""

    def __init__(self, fault: Callable[[str], None], in_use: Callable[[str], bool]) -> None:
        self._fault = fault
        self._in_use = in_use
        self._images: dict[str, ImageInfo] = {}
        self._archives: dict[str, bytes] = {}

    def add(self, tag: str, labels: Mapping[str, str] | None = None, *, content: bytes = b"") -> str:
        """Put an image into the engine and return its id, which depends on tag, labels and content only."""
        config = json.dumps([tag, dict(labels or {}), hashlib.sha256(content).hexdigest()], sort_keys=True).encode()
        return self._put(config, (tag,), labels or {}, size=len(content))

    def inspect(self, reference: str) -> ImageInfo | None:
        self._fault("images.inspect")
        return self._find(reference)

    def find(self, labels: Mapping[str, str | None]) -> list[ImageInfo]:
        self._fault("images.find")
        found = [image for image in self._images.values() if carries(image.labels, labels)]
        return sorted(found, key=lambda image: (image.tags, image.id))

    def build(
        self, context: IO[bytes], *, args: Mapping[str, str], labels: Mapping[str, str], tag: str
    ) -> Iterator[str]:
        self._fault("images.build")
        self.add(tag, labels, content=context.read() + json.dumps(dict(args), sort_keys=True).encode())
        yield f"built {tag}\n"

    def transfer(self, archive: IO[bytes] | None = None, *, save: str | None = None) -> Iterator[bytes]:
        self._fault("images.transfer")
        if archive is not None:
            return iter([self._load(archive)])
        image = self._find(save or "")
        if image is None or image.id not in self._archives:
            raise NotFound(f"No such image: {save}")
        return iter([self._archives[image.id]])

    def remove(self, reference: str) -> None:
        self._fault("images.remove")
        image = self._find(reference)
        if image is None or self._in_use(image.id):
            return
        tags = tuple(tag for tag in image.tags if tag != reference)
        if tags and reference != image.id:
            self._images[image.id] = dataclasses.replace(image, tags=tags)
        else:
            del self._images[image.id]

    def _load(self, archive: IO[bytes]) -> bytes:
        data = archive.read()
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                manifest = json.loads(_member(tar, "manifest.json"))[0]
                config = _member(tar, manifest["Config"])
        except (tarfile.TarError, KeyError, ValueError) as error:
            raise ImageError(f"the engine refused an image archive: {error}") from error
        labels = json.loads(config).get("config", {}).get("Labels") or {}
        image = self._put(config, tuple(manifest.get("RepoTags") or ()), labels, size=len(data))
        self._archives[image] = data
        return f"Loaded image ID: {image}\n".encode()

    def _put(self, config: bytes, tags: tuple[str, ...], labels: Mapping[str, str], *, size: int) -> str:
        identity = f"sha256:{hashlib.sha256(config).hexdigest()}"
        for image in list(self._images.values()):
            self._images[image.id] = dataclasses.replace(image, tags=tuple(t for t in image.tags if t not in tags))
        self._images[identity] = ImageInfo(
            id=identity, config_digest=identity, tags=tags, labels=dict(labels), size=size, created=_CREATED
        )
        return identity

    def _find(self, reference: str) -> ImageInfo | None:
        return self._images.get(reference) or next((i for i in self._images.values() if reference in i.tags), None)


def carries(labels: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    """Say whether labels hold all that is wanted; None accepts any value."""
    return all(key in labels and value in {None, labels[key]} for key, value in wanted.items())


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is no file")
    return file.read()
