"""Check in the finished image that a step can start and that nothing overrides its settings, without a model."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path("/opt/framework/source")
MODULES = ("fastapi.testclient", "uvicorn", "sqlalchemy", "streamlit", "pandas", "pytest", "adapter")


def main() -> None:
    """Import what a step and its product import, and start the framework; any failure ends with a traceback."""
    for module in MODULES:
        importlib.import_module(module)
    # The framework lets such a file win over the environment, and looks for it in all folders above its own.
    for file in (folder / ".env" for folder in (SOURCE, *SOURCE.parents)):
        if file.exists():
            sys.exit(f"{file} would override the settings of every step")
    with tempfile.TemporaryDirectory() as folder:
        # Started as a step starts it: in a folder where it may write, and only as far as its command line.
        subprocess.run(
            [sys.executable, str(SOURCE / "bae_noninteractive.py"), "--help"],
            check=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    main()
