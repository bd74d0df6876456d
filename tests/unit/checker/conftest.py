"""The judge's program is a package in the checker image's folder, which knows nothing of the runner."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

CHECKER = Path(__file__).parents[3] / "images" / "checker"
if str(CHECKER) not in sys.path:
    sys.path.insert(0, str(CHECKER))

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return what writes files below a workspace and returns it."""

    def written(files: dict[str, str]) -> Path:
        for name, content in files.items():
            path = tmp_path / "workspace" / PurePosixPath(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (tmp_path / "workspace").mkdir(exist_ok=True)
        return tmp_path / "workspace"

    return written
