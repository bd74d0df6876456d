"""Tell a library that this image lacks from a mistake of the application's."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from judge.files import text, walk

_PYTHON = re.compile(r"ModuleNotFoundError: No module named ['\"]([\w.]+)['\"]")
_NODE = re.compile(r"(?:Cannot find (?:module|package)|ERR_MODULE_NOT_FOUND.*?) '([^'./][^']*)'")
_NAME = re.compile(r"^[\s\"'-]*([A-Za-z0-9][A-Za-z0-9._-]*)")
_OTHER_NAMES = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "jose": "python-jose",
    "sklearn": "scikit-learn",
    "bs4": "beautifulsoup4",
}
"""Modules that are called otherwise than what they come in."""


def named(output: str) -> str | None:
    """Return the module or package that a program said it could not find; None if it said nothing of the kind."""
    found = _PYTHON.findall(output) or _NODE.findall(output)
    return str(found[-1]) if found else None


def is_foreign(workspace: Path, module: str) -> bool:
    """Tell whether a module is a library that the application declares, rather than one of its own or nobody's.

    Its own is what lies in the workspace under that name; what no list of requirements names would be missing anywhere.
    """
    top = module.partition(".")[0] if "/" not in module and not module.startswith("@") else module
    if top in sys.stdlib_module_names:
        return False
    own = {path.stem for path in walk(workspace, ".py")} | {
        part for path in walk(workspace, ".py") for part in path.parts[:-1]
    }
    names = {_plain(top), _plain(_OTHER_NAMES.get(top, top)), _plain(f"python-{top}")}
    return top not in own and bool(names & declared(workspace))


def declared(workspace: Path) -> set[str]:
    """Return the names of libraries in the workspace's lists of requirements."""
    found: set[str] = set()
    for path in walk(workspace, ".txt", ".toml", "package.json"):
        content = text(workspace, path) or ""
        if path.name == "package.json":
            found |= _of_package(content)
        elif path.suffix == ".toml" or path.name.startswith("requirements"):
            found |= {_plain(match[1]) for line in content.splitlines() if (match := _NAME.match(line))}
    return found


def _of_package(content: str) -> set[str]:
    try:
        described = json.loads(content)
        return {_plain(name) for key in ("dependencies", "devDependencies") for name in described.get(key) or {}}
    except (ValueError, AttributeError, TypeError):
        return set()


def _plain(name: str) -> str:
    """Return a name as the Python package index compares it (PEP 503); of a dotted one the whole."""
    return re.sub(r"[-_.]+", "-", name).lower()
