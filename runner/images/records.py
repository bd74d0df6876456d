"""Records of finished images in the cache: what each was made of, where its log is, when it was last used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner.images.cas import write_atomic
from runner.images.models import SHORT, Recipe


class ImageRecord(BaseModel):
    """`<cache>/images/<inputs>.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: str = Field(description="Recipe the image was made from.")
    tag: str = Field(description="Tag in the engine.")
    id: str = Field(description="Config digest of the image.")
    inputs: str = Field(description="sha256 of everything that went in.")
    lock_sha256: str = Field(description="sha256 of the lock file in the recipe's folder.")
    lock_date: str = Field(description="Date of the lock, and of every file in the image.")
    artifacts: int = Field(description="Number of locked artifacts.")
    artifacts_bytes: int = Field(description="Bytes of the locked artifacts.")
    base: str = Field(description="`bootstrapped`, the digest of a registry image, or the id of the base image.")
    substitutions: Mapping[str, str] = Field(
        default_factory=dict, description="Locked Debian packages that were gone, and what stands in for them."
    )
    derived: Mapping[str, str] = Field(
        default_factory=dict, description="Source distributions, and the sha256 of the wheel built from each."
    )
    patches: Mapping[str, str] = Field(
        default_factory=dict, description="Patches of the framework's code in their order, and the reason of each."
    )
    size: int | None = Field(description="Bytes of the image in the engine; null if the engine does not say.")
    built_at: str | None = Field(description="UTC, ISO 8601; null if another user's build was found in the engine.")
    engine_version: str = Field(description="Engine that built or first used it.")
    log: str | None = Field(description="Build log, relative to the cache.")
    projects: tuple[str, ...] = Field((), description="Folders of recipes that were made into it, or use it.")
    smoke_test: str = Field(description="sha256 of the smoke test that it passed; empty for images without one.")


def path_of(cache: Path, inputs: str) -> Path:
    """Return where the record of an image is kept."""
    return cache / "images" / f"{inputs}.json"


def log_path(cache: Path, recipe: Recipe, inputs: str) -> Path:
    """Return where the build log of an image is kept."""
    return cache / "logs" / f"{recipe.name.replace('/', '-')}-{inputs[:SHORT]}.log"


def read(cache: Path, inputs: str) -> ImageRecord | None:
    """Return the record of an image, or None if there is none that can be read: it is then written anew."""
    try:
        return ImageRecord.model_validate_json(path_of(cache, inputs).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write(cache: Path, record: ImageRecord) -> None:
    """Write a record, replacing an older one."""
    write_atomic(path_of(cache, record.inputs), record.model_dump_json(indent=2) + "\n")


def touch(cache: Path, inputs: str) -> None:
    """Note that an image was used now."""
    os.utime(path_of(cache, inputs))


def last_used(cache: Path, inputs: str) -> float | None:
    """Return when an image was last used, in seconds since the epoch, or None if never."""
    try:
        return path_of(cache, inputs).stat().st_mtime
    except FileNotFoundError:
        return None


def every(cache: Path) -> list[ImageRecord]:
    """Return all records that can be read, by tag."""
    found = (read(cache, path.stem) for path in sorted((cache / "images").glob("*.json")))
    return sorted((record for record in found if record is not None), key=lambda record: record.tag)
