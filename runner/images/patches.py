"""Patches of a framework's code: files in `images/<name>/patches/`, each with the reason for it in its first line.

They are applied while the image is built, by the program `patch.py` of the base recipe's folder, which the recipe's
Dockerfile runs. They stay in the image under /opt/framework/patches, decide about its tag, and stand in its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.errors import ConfigError
from runner.images.models import Recipe

FOLDER = "patches"
PATCHER = "patch.py"
"""Program in the base recipe's folder that applies patches while an image is built."""
SUFFIX = ".patch"

_DIFF = ("--- ", "+++ ", "@@ ", "diff ", "index ")
"""How lines of a unified diff begin that are no reason."""


def of(recipe: Recipe) -> Mapping[str, str]:
    """Return the reason of each patch of a recipe, by file name in the order in which they are applied.

    Raises:
        ConfigError: if one gives no reason, is no patch, or would not be applied by the recipe's Dockerfile.
    """
    folder = recipe.folder / FOLDER
    if recipe.framework is None or not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found = {file.name: _reason(file) for file in files}
    dockerfile = recipe.folder / "Dockerfile"
    if found and PATCHER not in dockerfile.read_text(encoding="utf-8"):
        raise ConfigError(
            f"{recipe.name} has patches that its Dockerfile does not apply",
            where=str(dockerfile),
            why=f"{', '.join(found)} in {folder}",
            hint=f'After the line that copies recipe/, add: RUN ["/usr/bin/python3", "-IS", "/artifacts/{PATCHER}"]',
        )
    return found


def _reason(file: Path) -> str:
    """Return a patch's first line."""
    if file.suffix != SUFFIX or not file.is_file():
        raise ConfigError(
            f"{file.name} is no patch", where=str(file), hint=f"Give it a name that ends with {SUFFIX}, or move it."
        )
    first = file.read_bytes().partition(b"\n")[0].decode("utf-8", "replace").strip()
    if not first or first.startswith(_DIFF):
        raise ConfigError(
            f"{file.name} gives no reason",
            where=f"{file}:1",
            why=f"Its first line is {first!r}.",
            hint="Write above the changes, in one line, why the framework cannot do without them.",
        )
    return first
