"""The image room, as the commands use it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runner.cli.workplace import Workplace
from runner.engine.protocol import Engine
from runner.events import Event, EventSink
from runner.images.models import BuiltImage, ImageContext
from runner.images.pipeline import Failure
from runner.spec.site import SITE_FILE, Site, load_site


def image_context(workplace: Workplace, engine: Engine, events: EventSink | None = None) -> ImageContext:
    """Return what the image stages need.

    Args:
        workplace: project and folders.
        engine: where images are built.
        events: who is told what happens; nobody by default.
    """
    return ImageContext(
        images=workplace.project.images,
        cache=workplace.cache,
        engine=engine,
        environment=workplace.environment,
        events=events or _ignore,
        rewrite=site_of(workplace.environment).sources.rewrite,
        user="0:0" if engine.info().rootless else f"{os.getuid()}:{os.getgid()}",
    )


def site_of(environment: Mapping[str, str]) -> Site:
    """Return the machine's rules; RUNNER_SITE may name another file.

    Raises:
        ConfigError: if they cannot be used.
    """
    return load_site(site_file(environment), required=bool(environment.get("RUNNER_SITE")))


def site_file(environment: Mapping[str, str]) -> Path:
    """Return the file of the machine's rules, whether or not there is one."""
    named = environment.get("RUNNER_SITE")
    return Path(named) if named else SITE_FILE


def _ignore(event: Event) -> None:
    """Tell nobody."""


def split(results: Mapping[str, BuiltImage | Failure]) -> tuple[dict[str, BuiltImage], dict[str, Failure]]:
    """Tell the images that can be used from those that cannot be built."""
    ready = {name: one for name, one in results.items() if isinstance(one, BuiltImage)}
    return ready, {name: one for name, one in results.items() if not isinstance(one, BuiltImage)}
