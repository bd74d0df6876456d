"""Values of this room: what it is given, what it makes, what it finds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from runner.engine.protocol import Engine
from runner.events import EventSink, Notice
from runner.names import PROJECT
from runner.spec.base import Spec
from runner.spec.models import Framework

SCHEMA = 2
"""Raised when the way images are made changes, so that every tag changes with it."""
SHORT = 16
"""Digits of the inputs' hash that a tag and a file name carry."""


@dataclass(frozen=True, kw_only=True)
class ImageContext:
    """Everything the stages need from outside."""

    images: Path
    """The project's folder of recipes, absolute."""
    cache: Path
    """Cache folder, absolute; shared by all projects of a user."""
    engine: Engine
    environment: Mapping[str, str]
    """The caller's environment: settings of pip, npm, git and apt, proxies, RUNNER_DEBIAN_MIRROR."""
    events: EventSink
    user: str
    """`uid:gid` that containers run as: the caller's, or `0:0` on a rootless engine."""

    rewrite: Mapping[str, str] = field(default_factory=dict)
    """Mirrors of git sources: beginning of an address -> what stands in its place."""

    def say(self, text: str, level: str = "info") -> None:
        """Send a sentence to the user."""
        self.events(Notice(time=time.time(), text=text, level=level))


class SystemRecipe(Spec):
    """`base.yaml` and `builder.yaml`: an image made of Debian packages alone."""

    suite: str = Field(pattern=r"^[a-z]+$", description="Code name of the Debian release.")
    components: tuple[str, ...] = Field(("main",), min_length=1, description="Parts of the archive to use.")
    packages: tuple[str, ...] = Field((), description="Packages to install; what they depend on is added.")
    tools: tuple[str, ...] = Field((), description="Packages that are locked and used by the stages, never installed.")
    registry: str | None = Field(
        None,
        pattern=r"^.+@sha256:[0-9a-f]{64}$",
        description="Start from this registry image, pinned by digest, instead of bootstrapping from packages.",
    )


Kind = Literal["base", "builder", "framework"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A folder under `images/`, read and checked."""

    name: str
    """`base`, `builder/NAME`, or the framework's name."""
    kind: Kind
    folder: Path
    file: Path
    """The YAML file that describes it."""
    framework: Framework | None = None
    system: SystemRecipe | None = None

    @property
    def packages(self) -> tuple[str, ...]:
        """Debian packages it asks for by name."""
        if self.framework is not None:
            return self.framework.system_packages
        return self.system.packages if self.system else ()

    @property
    def lock(self) -> Path:
        return self.folder / "requirements.lock"

    def tag(self, inputs: str) -> str:
        """Return the image's tag for the hash of everything that goes in."""
        return f"{PROJECT}/{self.name.replace('/', '-')}:{inputs[:SHORT]}"


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image that is ready to be used."""

    name: str
    tag: str
    id: str
    """Config digest, `sha256:...`: the same on every engine."""
    engine_id: str
    """What the engine calls it; differs from `id` only with the containerd image store."""
    inputs: str
    """sha256 of everything that went in."""
    built: bool
    """Whether it was made by this call."""


@dataclass(frozen=True, kw_only=True)
class ImageStatus:
    """Where a recipe stands."""

    name: str
    tag: str | None
    """None if there is no usable lock."""
    id: str | None
    locked: bool
    stale: str
    """What changed since the lock was made, or why the recipe cannot be read; empty if all is well."""
    artifacts: int | None
    artifacts_bytes: int | None
    missing: int | None
    """Locked artifacts that are not in the cache."""
    built: bool
    size: int | None
    """Bytes of the image in the engine."""
    last_used: float | None
    """Seconds since the epoch at which an image stage last returned this image."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One result of `check`."""

    name: str
    ok: bool
    text: str
