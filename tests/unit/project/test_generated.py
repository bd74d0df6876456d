"""Files that are derived from the code are current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runner.evidence.records import METRIC_NAMES

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.processes
def test_generated_files_are_current() -> None:
    """Every file that `make generate` writes holds what it would write now."""
    command = [sys.executable, str(ROOT / "scripts" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_metric_is_documented() -> None:
    """The page on metrics has a row for each name of `metrics.json`, in the same order."""
    lines = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert tuple(rows[: len(METRIC_NAMES)]) == METRIC_NAMES
