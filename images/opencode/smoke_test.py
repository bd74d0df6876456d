"""Check in the finished image that every part of a step can start, without a model."""

from __future__ import annotations

import importlib
import subprocess

from adapter import PROGRAM

MODULES = ("fastapi.testclient", "uvicorn", "pytest")
COMMANDS = ([str(PROGRAM), "--version"], [str(PROGRAM), "run", "--help"], ["git", "--version"])


def main() -> None:
    """Import what a step imports and start what it starts; any failure ends with a traceback."""
    for module in MODULES:
        importlib.import_module(module)
    for command in COMMANDS:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
