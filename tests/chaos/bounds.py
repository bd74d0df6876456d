"""How long the suite may take and with which seed it begins, from the environment."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from pathlib import Path

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
ROUNDS_SHARE = 0.6
"""Of the time, for rounds; the rest is for crash points."""

UNREADABLE = (AssertionError, OSError, ValueError, sqlite3.Error, subprocess.SubprocessError)
"""What the checks meet where something is so wrong that they cannot be made: a finding like any other."""


def keep(root: Path, name: str) -> Path:
    """Copy what was left at a place, sockets and all, to where it outlives the test."""
    kept = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
    subprocess.run(["cp", "-a", root, kept], check=True)
    return kept


def listed(title: str, lines: list[str]) -> str:
    """Return a list as it is shown in a report."""
    return "\n".join((f"{title}:", *(f"  {line}" for line in lines)))
