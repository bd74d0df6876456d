"""Throw-away projects for image tests."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from runner.engine.protocol import Engine
from runner.images import pipeline
from runner.images.models import BuiltImage, ImageContext
from runner.names import PROJECT

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases" / "images"


@dataclass
class Project:
    """A throw-away project and what its image stages said."""

    ctx: ImageContext
    said: list[str] = field(default_factory=list)

    def add(self, case: str) -> Path:
        """Copy a case among the recipes and return its folder."""
        return Path(shutil.copytree(CASES / case, self.ctx.images / case))

    def ensure(self, name: str) -> BuiltImage:
        """Return the image of a recipe that must work."""
        result = pipeline.ensure(self.ctx, [name])[name]
        if isinstance(result, Exception):
            raise result
        return result

    def failure(self, name: str) -> str:
        """Return the message of a recipe that must fail."""
        result = pipeline.ensure(self.ctx, [name])[name]
        assert isinstance(result, Exception), f"{name} was built"
        return str(result)


def base_image(engine: Engine) -> str:
    """Return the id of the project's base image."""
    return project_image(engine, "base")


def project_image(engine: Engine, name: str) -> str:
    """Return the id of an image of the project, made from the user's cache if the engine does not have it."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    ctx = ImageContext(
        images=ROOT / "images",
        cache=Path(home) / PROJECT,
        engine=engine,
        environment=os.environ,
        events=lambda _: None,
        user=f"{os.getuid()}:{os.getgid()}",
    )
    return Project(ctx=ctx).ensure(name).id
