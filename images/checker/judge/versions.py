"""What judges: the version of this program, and of what applications find installed beside it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import distributions
from typing import Any

from judge import VERSION


def versions() -> dict[str, Any]:
    """Return the versions of this program, Python, Node, and every installed Python package."""
    packages = {str(one.name).lower(): one.version for one in distributions() if one.name}
    if node := _node():
        packages["node"] = node
    return {"version": VERSION, "python": platform.python_version(), "packages": dict(sorted(packages.items()))}


def _node() -> str:
    if shutil.which("node") is None:
        return ""
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False, timeout=30)
    return said.stdout.strip().removeprefix("v")
