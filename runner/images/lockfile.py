"""`requirements.lock`: every artifact of an image with its hash, in one format for all kinds of recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from runner.errors import ConfigError
from runner.images.cas import write_atomic
from runner.images.models import Recipe
from runner.spec.base import Spec
from runner.spec.complaints import nearest
from runner.spec.validate import validate
from runner.spec.yaml import load_yaml

PLATFORM = "linux/amd64"

ArtifactKind = Literal["deb", "wheel", "sdist", "npm", "git"]


class Artifact(Spec):
    """One file that goes into an image, or helps to make it."""

    kind: ArtifactKind
    name: str
    version: str
    file: str = Field(pattern=r"^[^/\x00]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    use: Literal["install", "tool", "data"] = "install"
    """A tool is used by the stages and not installed; data is given to the Dockerfile and not installed."""
    path: str | None = None
    """deb: where it is in the archive's pool. npm: the folder below the image's node_modules."""
    commit: str | None = None
    integrity: str | None = None
    """npm: hash as the registry states it."""


class Lock(Spec):
    """A lock file; `date` is also the time that every file of the image gets."""

    version: Literal[1]
    date: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    platform: Literal["linux/amd64"]
    python: str
    inputs: dict[str, str]
    """Hash of each input the lock was made from."""
    artifacts: tuple[Artifact, ...]

    @property
    def epoch(self) -> int:
        """The lock's date in seconds since the epoch."""
        return int(datetime.fromisoformat(self.date).timestamp())

    def of(self, *kinds: ArtifactKind, use: str = "install") -> list[Artifact]:
        """Artifacts of these kinds, in the order of the lock."""
        return [artifact for artifact in self.artifacts if artifact.kind in kinds and artifact.use == use]


def make(*, now: float, python: str, inputs: Mapping[str, str], artifacts: Iterable[Artifact]) -> Lock:
    """Put a lock together, artifacts sorted by kind, name and version."""
    return Lock(
        version=1,
        date=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        platform=PLATFORM,
        python=python,
        inputs=dict(inputs),
        artifacts=tuple(sorted(artifacts, key=lambda one: (one.kind, one.name, one.version, one.path or ""))),
    )


def text(lock: Lock, name: str) -> str:
    """Return a lock as YAML with one line per artifact, so that differences read well."""
    lines = [
        f"# Written by `runner images lock {name}`; not to be edited by hand.",
        f"version: {lock.version}",
        f'date: "{lock.date}"',
        f"platform: {lock.platform}",
        f'python: "{lock.python}"',
        "inputs:",
        *(f'  {key}: "{value}"' for key, value in sorted(lock.inputs.items())),
        "artifacts:" if lock.artifacts else "artifacts: []",
        *(
            "  - " + json.dumps(artifact.model_dump(exclude_defaults=True), ensure_ascii=False)
            for artifact in lock.artifacts
        ),
    ]
    return "\n".join(lines) + "\n"


def write(lock: Lock, path: Path, name: str) -> None:
    """Replace a lock file."""
    write_atomic(path, text(lock, name))


def read(recipe: Recipe) -> Lock:
    """Read a recipe's lock without asking whether it is still up to date.

    Raises:
        ConfigError: if there is none, or it is not a lock.
    """
    if not recipe.lock.is_file():
        raise ConfigError(
            f"{recipe.name} has no lock",
            where=str(recipe.lock),
            why="An image is only built from artifacts whose hashes are written down.",
            hint=f"Run: runner images lock {recipe.name}",
        )
    return validate(load_yaml(recipe.lock), Lock)


def changed(lock: Lock, inputs: Mapping[str, str]) -> list[str]:
    """Name the inputs that are not what they were when the lock was made."""
    return sorted(key for key in {*inputs, *lock.inputs} if lock.inputs.get(key) != inputs.get(key))


def require_fresh(recipe: Recipe, lock: Lock, inputs: Mapping[str, str]) -> None:
    """Refuse a lock that is older than its inputs.

    Raises:
        ConfigError: naming what changed.
    """
    if different := changed(lock, inputs):
        raise ConfigError(
            f"the lock of {recipe.name} is older than its inputs",
            where=str(recipe.lock),
            why=f"Changed since it was made: {', '.join(different)}.",
            hint=f"Run: runner images lock {recipe.name}",
        )


def digest(value: object) -> str:
    """Return the sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def unknown(name: str, choices: Iterable[str], file: str = "framework.yaml") -> ConfigError:
    """Describe a recipe that does not exist, with the nearest that does; `file` is what makes a folder one."""
    known = sorted(choices)
    close = nearest(name, known)
    return ConfigError(
        f"there is no recipe {name}",
        why=f"Recipes: {', '.join(known) or 'none'}.",
        hint=f"Did you mean {close}?" if close else f"A recipe is a folder images/{name}/ with {file}.",
    )
