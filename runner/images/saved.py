"""Read what `docker save` wrote and write what `docker load` reads.

Format: image archive of Docker image specification 1.2 (manifest.json, config, layers), which newer engines write
as an OCI layout with the same manifest.json beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import zstandard

from runner.errors import ImageError
from runner.images.cas import copy_range, sha256_file
from runner.images.tarball import Entry, archive

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

PATH = (
    "/opt/framework/bin:/opt/framework/venv/bin:/opt/framework/node_modules/.bin:"
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "PATH": PATH,
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}
"""What every image of ours sets; a Dockerfile's own ENV is added to it."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One uncompressed layer, at `offset` of a file, `size` bytes long."""

    diff_id: str
    file: Path
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Saved:
    """An image read from an archive: its config and its layers, lowest first."""

    config: Mapping[str, Any]
    layers: tuple[Layer, ...]


def read_saved(file: Path) -> Saved:
    """Index an image archive without unpacking it; compressed layers are unpacked beside it.

    Raises:
        ImageError: if it holds no image.
    """
    with tarfile.open(file, "r:") as outer:
        members = {member.name: member for member in outer}
        if "manifest.json" not in members:
            raise ImageError("the engine saved an image without manifest.json", why=f"{sorted(members)[:5]}")
        manifest = _json(outer, members["manifest.json"])[0]
        config = _json(outer, members[manifest["Config"]])
        layers = tuple(
            _layer(outer, _follow(members, name), diff_id, file)
            for name, diff_id in zip(manifest["Layers"], config["rootfs"]["diff_ids"], strict=True)
        )
    return Saved(config=config, layers=layers)


def _json(outer: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    content = outer.extractfile(member)
    return json.loads(content.read() if content else b"null")


def _follow(members: Mapping[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo:
    """Resolve the links by which older engines share a layer within one archive."""
    member = members[name]
    while member.issym() or member.islnk():
        target = member.linkname if member.islnk() else f"{name.rpartition('/')[0]}/{member.linkname}"
        parts: list[str] = []
        for part in target.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part] if part not in {"", "."} else parts
        name = "/".join(parts)
        member = members[name]
    return member


def _layer(outer: tarfile.TarFile, member: tarfile.TarInfo, diff_id: str, file: Path) -> Layer:
    content = outer.extractfile(member)
    if content is None:
        raise ImageError(f"layer {member.name} of the saved image is no file")
    magic = content.read(4)
    content.seek(0)
    if not (magic.startswith(_GZIP) or magic == _ZSTD):
        return Layer(diff_id=diff_id, file=file, offset=member.offset_data, size=member.size)
    plain = file.with_name(diff_id.removeprefix("sha256:") + ".layer")
    with plain.open("wb") as out:
        if magic == _ZSTD:
            zstandard.ZstdDecompressor().copy_stream(content, out)
        else:
            with gzip.open(content) as unpacked:
                shutil.copyfileobj(unpacked, out)
    return Layer(diff_id=diff_id, file=plain, offset=0, size=plain.stat().st_size)


def layer_of(file: Path) -> Layer:
    """Describe a file that is one uncompressed layer."""
    sha256, size = sha256_file(file)
    return Layer(diff_id=f"sha256:{sha256}", file=file, offset=0, size=size)


def config_json(
    layers: Sequence[Layer], *, date: int, labels: Mapping[str, str], environment: Sequence[str] = ()
) -> bytes:
    """Return the bytes of an image config; their sha256 is the image's id on every engine.

    Args:
        layers: lowest first.
        date: creation date, seconds since the epoch.
        labels: all labels.
        environment: `NAME=value` as a Dockerfile left it; ours wins.
    """
    variables = dict(item.split("=", 1) for item in environment) | ENVIRONMENT
    created = datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = {
        "architecture": "amd64",
        "config": {
            "Env": [f"{name}={variables[name]}" for name in sorted(variables)],
            "Labels": dict(sorted(labels.items())),
            "WorkingDir": "/workspace",
        },
        "created": created,
        "history": [{"created": created, "created_by": "codegen-runner"} for _ in layers],
        "os": "linux",
        "rootfs": {"diff_ids": [layer.diff_id for layer in layers], "type": "layers"},
    }
    return json.dumps(config, sort_keys=True, separators=(",", ":")).encode()


def image_id(config: bytes) -> str:
    """Return the id of an image with this config."""
    return f"sha256:{hashlib.sha256(config).hexdigest()}"


def load_archive(config: bytes, layers: Sequence[Layer], tag: str) -> Iterator[bytes]:
    """Yield an archive for `docker load` that makes this image under this tag."""
    name = hashlib.sha256(config).hexdigest() + ".json"
    paths = [layer.diff_id.removeprefix("sha256:") + "/layer.tar" for layer in layers]
    manifest = json.dumps([{"Config": name, "Layers": paths, "RepoTags": [tag]}]).encode()

    def members() -> Iterator[tuple[Entry, Iterator[bytes]]]:
        yield Entry(path=name, size=len(config)), iter((config,))
        for path, layer in zip(paths, layers, strict=True):
            yield Entry(path=path, size=layer.size), _content(layer)
        yield Entry(path="manifest.json", size=len(manifest)), iter((manifest,))

    return archive(members())


def _content(layer: Layer) -> Iterator[bytes]:
    file: IO[bytes]
    with layer.file.open("rb") as file:
        yield from copy_range(file, layer.offset, layer.size)
