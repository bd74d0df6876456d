"""Where a project is, and where its parts are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ConfigError

SUFFIXES = (".yaml", ".yml")
"""Endings of the files that a user writes."""
RECIPE = "framework.yaml"
"""File in images/<name>/ that makes it a framework."""


@dataclass(frozen=True)
class Project:
    """A folder with `config/` and `images/`; `root` is absolute."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def experiments(self) -> Path:
        return self.config / "experiments"

    @property
    def scenarios(self) -> Path:
        return self.config / "scenarios"

    @property
    def workflows(self) -> Path:
        return self.config / "workflows"

    @property
    def schemas(self) -> Path:
        return self.config / "schema"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def state(self) -> Path:
        """The runner's own files: ledger, log, crash reports."""
        return self.root / ".runner"

    def output(self, folder: str) -> Path:
        """Return the folder that an experiment's `output` names."""
        return spelled_out(self.root / folder)


def yaml_files(folder: Path) -> list[Path]:
    """Return the YAML files of a folder, sorted; none if there is no such folder."""
    return [path for suffix in SUFFIXES for path in sorted(folder.glob(f"*{suffix}"))]


def spelled_out(folder: Path) -> Path:
    """Return a folder's absolute path without `..`, so that it is spelled one way in names, labels and messages."""
    return Path(os.path.normpath(folder.absolute()))


def find_project(start: Path) -> Project:
    """Return the nearest project around a folder, looking upward.

    Args:
        start: folder to begin with.

    Raises:
        ConfigError: if there is no such folder, or neither it nor a folder above it has both `config/` and `images/`.
    """
    begin = start.absolute()
    if not begin.is_dir():
        raise ConfigError(f"{begin}: there is no such folder", hint="name a folder of a project: runner -C DIR ...")
    for folder in (begin, *begin.parents):
        if (folder / "config").is_dir() and (folder / "images").is_dir():
            return Project(folder)
    raise ConfigError(
        f"{begin} is in no project",
        why="a project is a folder with config/ and images/; neither this folder nor one above it has both",
        hint="change into a project, or name one: runner -C DIR ...; to look at runs or an archive alone: --output DIR",
    )
