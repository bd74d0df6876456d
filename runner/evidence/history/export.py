"""Put a history into one file that engines open, every step an image with its own tag.

Formats, both in the same tar: OCI image layout 1.1 with uncompressed layers, for `skopeo` and newer engines, and the
manifest.json of Docker image specification 1.2 beside it, for `docker load` of any engine. An image's id is the digest
of its configuration, which names layers by their uncompressed digests: it is the same in the run's own folder, in the
file and in an engine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runner.errors import ConfigError, StorageError
from runner.evidence.atomic import replacing
from runner.evidence.compress import DECOMPRESSION_ERRORS, decompressed
from runner.evidence.history import oci
from runner.evidence.history.blobs import Blobs
from runner.evidence.history.oci import KeptStep
from runner.evidence.tarformat import FOLDER, REGULAR, padding, raw_header, trailer

_CHUNK = 1024 * 1024
_BLOBS = "blobs/sha256"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:[a-zA-Z0-9.-]+:[0-9]+/)?{_PART}(?:/{_PART})*")
"""Reference grammar of the distribution project; a registry may stand in front."""


def export_chunks(history: Path, steps: Sequence[KeptStep], name: str) -> Iterator[bytes]:
    """Yield the export, for a file or for an engine.

    Args:
        history: the run's folder `history`.
        steps: every step, in order.
        name: what the images are called; each step's tag is added.

    Raises:
        StorageError: if a layer is missing or damaged; what was yielded is of no use then.
    """
    blobs = Blobs(history)
    small: dict[str, bytes] = {}
    manifests, docker = [], []
    every = {one.diff_id: one for step in steps for one in step.layers}
    sizes = {diff_id: _plain_size(blobs, one) for diff_id, one in every.items()}
    for step in steps:
        config = blobs.read(step.config)
        layers = [(one.diff_id, sizes[one.diff_id]) for one in step.layers]
        manifest = oci.manifest_json(config, layers, oci.PLAIN_LAYER, {})
        small |= {_blob(config): config, _blob(manifest): manifest}
        notes = {oci.REF_NAME: step.tag, "io.containerd.image.name": f"{name}:{step.tag}"}
        manifests.append((hashlib.sha256(manifest).hexdigest(), len(manifest), notes))
        paths = [f"{_BLOBS}/{diff_id}" for diff_id, _ in layers]
        docker.append({"Config": _blob(config), "Layers": paths, "RepoTags": [f"{name}:{step.tag}"]})
    small |= {
        oci.INDEX: oci.index_json(manifests),
        "manifest.json": oci.dumps(docker),
        oci.MARKER: oci.marker_json(),
    }
    yield from _tar(blobs, small, every, sizes)


def export_file(history: Path, steps: Sequence[KeptStep], name: str, target: Path) -> None:
    """Write the export to a file, whole or not at all.

    Raises:
        StorageError: if a layer is missing or damaged, or the file cannot be written.
    """
    with replacing(target) as stream:
        for chunk in export_chunks(history, steps, name):
            stream.write(chunk)


def _tar(
    blobs: Blobs, small: Mapping[str, bytes], layers: Mapping[str, oci.Layer], sizes: Mapping[str, int]
) -> Iterator[bytes]:
    written = 0
    for folder in ("blobs/", f"{_BLOBS}/"):
        head = raw_header(FOLDER, folder.encode(), mode=0o755)
        written += len(head)
        yield head
    names = sorted([*small, *(f"{_BLOBS}/{diff_id}" for diff_id in layers)])
    for name in names:
        diff_id = name.rpartition("/")[2]
        size = len(small[name]) if name in small else sizes[diff_id]
        head = raw_header(REGULAR, name.encode(), size=size, mode=0o644)
        yield head
        yield from (small[name],) if name in small else _plain(blobs, layers[diff_id])
        yield padding(size)
        written += len(head) + size + len(padding(size))
    yield trailer(written)


def _plain(blobs: Blobs, layer: oci.Layer) -> Iterator[bytes]:
    """Yield a layer's tar.

    Raises:
        StorageError: if that is not what its digest says.
    """
    path, digest = blobs.path(layer.sha256), hashlib.sha256()
    try:
        with decompressed(path) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                yield chunk
    except DECOMPRESSION_ERRORS as error:
        raise StorageError("a layer of the history is damaged", where=str(path), why=str(error)) from None
    if digest.hexdigest() != layer.diff_id:
        raise StorageError("a layer of the history is damaged", where=str(path), why=f"its tar is {digest.hexdigest()}")


def _plain_size(blobs: Blobs, layer: oci.Layer) -> int:
    return sum(len(chunk) for chunk in _plain(blobs, layer))


def _blob(data: bytes) -> str:
    return f"{_BLOBS}/{hashlib.sha256(data).hexdigest()}"


def image_name(text: str) -> str:
    """Return a name that engines accept for images.

    Raises:
        ConfigError: if it is none: lower-case letters, digits and single `.`, `_` and `-` between them, in parts
            separated by slashes, without a tag.
    """
    if _NAME.fullmatch(text) is None:
        raise ConfigError(
            f"{text} is no name of an image",
            why="lower-case letters and digits, with `.`, `_` or `-` between them, in parts separated by `/`; "
            "tags are added",
            hint="like me/crud",
        )
    return text
