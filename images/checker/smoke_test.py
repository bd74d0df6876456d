"""Check in the finished image that what applications are started with is there, and that the judge can judge."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = ("fastapi", "uvicorn", "flask", "django", "rest_framework", "streamlit", "sqlalchemy", "sqlmodel", "pytest")
COMMANDS = (
    ["node", "-e", "require('express'); require('sqlite3'); require('cors')"],
    ["node", "--input-type=module", "-e", "import 'express'"],
    ["ruff", "--version"],
    ["python3", "-m", "bandit", "--version"],
    ["python3", "-m", "radon", "--version"],
)
APPLICATION = "from fastapi import FastAPI\n\napp = FastAPI()\n"


def main() -> None:
    """Import what applications import, start what the judge starts, and judge an application that does nothing."""
    for module in MODULES:
        importlib.import_module(module)
    for command in COMMANDS:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/workspace")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        workspace.mkdir()
        (workspace / "main.py").write_text(APPLICATION)
        asked, verdict = Path(folder) / "check.json", Path(folder) / "checks.json"
        asked.write_text(json.dumps({"format": 1, "kind": "application", "timeout_seconds": 60}))
        program = [sys.executable, "-I", "/opt/framework/check.py", str(asked), str(verdict)]
        subprocess.run(program, check=True, cwd=workspace)
        said = {one["id"]: one["verdict"] for one in json.loads(verdict.read_text())["assertions"]}
    expected = {"application.start", "application.health", "application.restart"}
    if said != dict.fromkeys(expected, "passed"):
        raise SystemExit(f"the judge's verdict on an empty application is {said}")


if __name__ == "__main__":
    main()
