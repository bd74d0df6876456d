"""A history as an OCI image layout: one image per step, its layers those of all steps that it came from, and its own.

Format: OCI image specification 1.1, image layout, index, manifest and configuration. Of a step that came from every step
before it in the layout, the annotations do not say so; of any other, `layers` has the numbers of the steps whose layers
it has, and `base` the digest of the blob that lists what it found, empty for nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.errors import StorageError
from runner.evidence.atomic import storage_error, write_bytes
from runner.evidence.history.blobs import Blobs
from runner.evidence.history.index import Index, decode

INDEX, MARKER = "index.json", "oci-layout"
REF_NAME = "org.opencontainers.image.ref.name"
OWN = "org.codegen-runner."
"""Prefix of annotations that no standard names."""
_LAYERS, _BASE = f"{OWN}layers", f"{OWN}base"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
ZSTD_LAYER, PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.oci.image.layer.v1.tar"
_CREATED = "1970-01-01T00:00:00Z"
"""When every step was made, as far as an image tells: equal workspaces give equal images."""
_COUNTS = ("added", "changed", "removed")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer as it is kept."""

    diff_id: str
    """sha256 of the tar."""
    sha256: str
    """Of the blob."""
    bytes: int
    """Size of the blob."""


@dataclass(frozen=True, kw_only=True)
class KeptStep:
    """A step whose workspace is kept."""

    number: int
    """1-based position of the step; 0 for what the run was given to begin with."""
    id: str
    layers: tuple[Layer, ...]
    """Those of the steps it came from, then its own."""
    numbers: tuple[int, ...]
    """Of the step each layer is of."""
    base: str
    """Digest of the blob that lists what the step found; empty if that was nothing."""
    index: str
    """Digest of the blob that lists the workspace."""
    config: str
    """Digest of the image's configuration, by which engines know the image."""
    manifest: str
    """Digest of the image's manifest."""
    manifest_bytes: int
    added: int
    changed: int
    removed: int

    @property
    def tag(self) -> str:
        return f"step-{self.number:03d}-{self.id}"

    @property
    def layer(self) -> Layer:
        return self.layers[-1]


def config_json(steps: Sequence[str], diff_ids: Sequence[str]) -> bytes:
    """Return the configuration of an image whose layers are those of the steps with these tags."""
    history = [{"created": _CREATED, "created_by": tag} for tag in steps]
    content = {
        "architecture": "amd64",
        "config": {"WorkingDir": "/workspace"},
        "created": _CREATED,
        "history": history,
        "os": "linux",
        "rootfs": {"diff_ids": [f"sha256:{one}" for one in diff_ids], "type": "layers"},
    }
    return dumps(content)


def manifest_json(config: bytes, layers: Sequence[tuple[str, int]], media_type: str, notes: Mapping[str, str]) -> bytes:
    """Return an image's manifest.

    Args:
        config: the configuration's bytes.
        layers: digest and size of each layer as it is stored.
        media_type: of the layers.
        notes: annotations.
    """
    content = {
        "annotations": dict(notes),
        "config": _descriptor(_CONFIG, hashlib.sha256(config).hexdigest(), len(config)),
        "layers": [_descriptor(media_type, sha256, size) for sha256, size in layers],
        "mediaType": _MANIFEST,
        "schemaVersion": 2,
    }
    return dumps(content)


def index_json(manifests: Sequence[tuple[str, int, Mapping[str, str]]]) -> bytes:
    """Return a layout's index of manifests: digest, size and annotations of each."""
    entries = [
        {**_descriptor(_MANIFEST, sha256, size), "annotations": dict(notes)} for sha256, size, notes in manifests
    ]
    return dumps({"manifests": entries, "mediaType": "application/vnd.oci.image.index.v1+json", "schemaVersion": 2})


def marker_json() -> bytes:
    """Return the file that marks a layout."""
    return dumps({"imageLayoutVersion": "1.0.0"})


def write_step(blobs: Blobs, steps: Sequence[KeptStep], step: KeptStep) -> KeptStep:
    """Write what a new step's image is, and return the step with the digests of that.

    Args:
        blobs: of the history.
        steps: all steps whose layers it has.
        step: the step.
    """
    config = config_json(step_tags([*steps, step], step), [one.diff_id for one in step.layers])
    layers = [(one.sha256, one.bytes) for one in step.layers]
    manifest = manifest_json(config, layers, ZSTD_LAYER, {f"{OWN}index": step.index})
    return replace(step, config=blobs.add(config), manifest=blobs.add(manifest), manifest_bytes=len(manifest))


def write_index(blobs: Blobs, steps: Sequence[KeptStep]) -> None:
    """Write the layout's index, which comes after all that it names.

    Args:
        blobs: of the history.
        steps: by number, each written.
    """
    manifests = []
    numbers = tuple(one.number for one in steps)
    for position, step in enumerate(steps):
        counts = {f"{OWN}{name}": str(getattr(step, name)) for name in _COUNTS}
        notes = {REF_NAME: step.tag, f"{OWN}step": str(step.number), f"{OWN}id": step.id, **counts}
        if step.numbers != numbers[: position + 1]:
            notes[_LAYERS] = " ".join(map(str, step.numbers))
        if step.base != (steps[position - 1].index if position else ""):
            notes[_BASE] = step.base
        manifests.append((step.manifest, step.manifest_bytes, dict(sorted(notes.items()))))
    if not (blobs.history / MARKER).exists():
        write_bytes(blobs.history / MARKER, marker_json())
    write_bytes(blobs.history / INDEX, index_json(manifests))


def step_tags(steps: Sequence[KeptStep], step: KeptStep) -> list[str]:
    """Return the tags of the steps whose layers a step's image has."""
    tags = {one.number: one.tag for one in steps}
    return [tags[number] for number in step.numbers]


def read_steps(history: Path) -> tuple[KeptStep, ...]:
    """Return the steps that a history keeps, in order; none if there is no history.

    Raises:
        StorageError: if it cannot be read or is damaged.
    """
    blobs = Blobs(history)
    try:
        content = json.loads((history / INDEX).read_bytes())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise storage_error(f"cannot read {history / INDEX}", error) from error
    except ValueError as error:
        raise StorageError("the history's index is damaged", where=str(history / INDEX), why=str(error)) from None
    try:
        steps = tuple(_read_step(blobs, one) for one in content["manifests"])
        return tuple(_placed(steps, position, one["annotations"]) for position, one in enumerate(content["manifests"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise StorageError("the history's index is damaged", where=str(history / INDEX), why=why) from None


def read_index(history: Path, step: KeptStep) -> Index:
    """Return what the workspace held after a step.

    Raises:
        StorageError: if the index is missing or damaged.
    """
    return decode(Blobs(history).read(step.index))


def read_base(history: Path, step: KeptStep) -> Index:
    """Return what a step found in the workspace.

    Raises:
        StorageError: if what lists it is missing or damaged.
    """
    return decode(Blobs(history).read(step.base)) if step.base else Index()


def dumps(content: object) -> bytes:
    """Return JSON in its one canonical form here: sorted keys, no blanks."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _placed(steps: Sequence[KeptStep], position: int, notes: Mapping[str, Any]) -> KeptStep:
    """Add to a step where it came from."""
    earlier, step = steps[:position], steps[position]
    told = notes.get(_LAYERS)
    numbers = (*(one.number for one in earlier), step.number) if told is None else tuple(map(int, told.split()))
    if len(step.layers) != len(numbers) or numbers[-1] != step.number:
        raise ValueError(f"{step.tag} has {len(step.layers)} layers, said to be those of {numbers}")
    if missing := set(numbers) - {one.number for one in steps}:
        raise ValueError(f"{step.tag} has layers of {sorted(missing)}, which are not there")
    return replace(step, numbers=numbers, base=str(notes.get(_BASE, earlier[-1].index if earlier else "")))


def _read_step(blobs: Blobs, entry: Mapping[str, Any]) -> KeptStep:
    notes = entry["annotations"]
    manifest = json.loads(blobs.read(_digest(entry)))
    config = _digest(manifest["config"])
    diff_ids = json.loads(blobs.read(config))["rootfs"]["diff_ids"]
    layers = tuple(
        Layer(diff_id=str(diff_id).removeprefix("sha256:"), sha256=_digest(one), bytes=int(one["size"]))
        for diff_id, one in zip(diff_ids, manifest["layers"], strict=True)
    )
    return KeptStep(
        number=int(notes[f"{OWN}step"]),
        id=str(notes[f"{OWN}id"]),
        layers=layers,
        numbers=(),
        base="",
        index=str(manifest["annotations"][f"{OWN}index"]),
        config=config,
        manifest=_digest(entry),
        manifest_bytes=int(entry["size"]),
        **{name: int(notes[f"{OWN}{name}"]) for name in _COUNTS},
    )


def _digest(descriptor: Mapping[str, Any]) -> str:
    return str(descriptor["digest"]).removeprefix("sha256:")


def _descriptor(media_type: str, sha256: str, size: int) -> dict[str, object]:
    return {"digest": f"sha256:{sha256}", "mediaType": media_type, "size": size}
