"""Where a command writes what a person asked for: never over anything, and in no folder that was mistyped."""

from __future__ import annotations

import os
from pathlib import Path

from runner.errors import ConfigError


def new_file(text: str) -> Path:
    """Return the absolute path of a file that is to be written.

    Raises:
        ConfigError: if there is something already, or no folder to put it in.
    """
    target = Path(text).absolute()
    if os.path.lexists(target):
        raise ConfigError(f"there is something at {target}", hint="remove it, or name another file")
    return _in_a_folder(target)


def new_folder(text: str, option: str = "") -> Path:
    """Return the absolute path of a folder that is to be written: it may be there, but holds nothing.

    Args:
        text: as a person types it.
        option: the option that named it, if one did.

    Raises:
        ConfigError: if there is something already, or no folder to put it in.
    """
    target = Path(text).absolute()
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        place = f"{option} " if option else ""
        raise ConfigError(
            f"there is something at {target}", hint=f"name a folder that does not exist yet, or is empty: {place}DIR"
        )
    return _in_a_folder(target)


def _in_a_folder(target: Path) -> Path:
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent}", hint=f"mkdir -p {target.parent}")
    return target
