"""Where a Python program works: its project and the settings of its process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runner.cli.workplace import Workplace
from runner.spec.project import find_project


def settings(given: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the settings a caller gave, else a copy of the process's environment."""
    return dict(os.environ) if given is None else given


def workplace(project: str | Path | None, given: Mapping[str, str] | None) -> Workplace:
    """Return the project at or above a folder, by default the current one.

    Raises:
        ConfigError: if there is none.
    """
    return Workplace(project=find_project(Path(project or ".").absolute()), environment=settings(given))
