#!/usr/bin/env python3
"""Resolve the project's own dependencies into lock files that hold every artifact's hash and no index address."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Written by `make lock` from pyproject.toml; every line is exact and verified by its hashes.\n"
OPTIONS = (
    "--generate-hashes",
    "--allow-unsafe",
    "--strip-extras",
    "--no-header",
    "--no-annotate",
    "--no-emit-options",
    "--quiet",
)


def main(arguments: list[str]) -> int:
    """Write requirements.lock (what running needs) and requirements-dev.lock (that and what developing needs).

    Args:
        arguments: passed on to the resolver, like `--upgrade`.

    Returns:
        0; the resolver's complaint ends the program otherwise.
    """
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # The build backend is part of what running needs: the project is installed without build isolation.
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    runtime, development = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
    _resolve(needed, runtime, arguments)
    # The second resolution may not move what the first has fixed.
    pins = [line.split()[0] for line in runtime.read_text(encoding="utf-8").splitlines() if "==" in line]
    _resolve([*pins, *project["dependency-groups"]["dev"]], development, arguments)
    return 0


def _resolve(requirements: list[str], lock: Path, arguments: list[str]) -> None:
    # Read from stdin, the resolver would need a seed file of its own: give it the existing lock by --output-file.
    command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *arguments, "--output-file", str(lock), "-"]
    subprocess.run(command, input="\n".join(requirements), text=True, check=True, cwd=ROOT)
    kept = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith(("#", "--"))]
    lock.write_text(HEADER + "\n".join(kept).strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
