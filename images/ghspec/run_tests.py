"""Run the workspace's own tests, as a framework does that looks at them after it has changed something.

Tests of Python are run by pytest, if there are any. A workspace without such tests passes. The recipes that use this
file each carry a copy, since an image is made from one folder; a test keeps the copies alike.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PATTERNS = ("test_*.py", "*_test.py")
NO_TESTS = 5
"""pytest's exit code if it finds no test."""
TIMEOUT = 240.0
"""Seconds after which tests that hang are given up."""
TIMED_OUT = 124


def main() -> int:
    """Return 0 if all tests pass or there are none, else what pytest ends with."""
    if not any(next(Path().rglob(pattern), None) for pattern in PATTERNS):
        return 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    try:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=TIMEOUT).returncode
    except subprocess.TimeoutExpired:
        print(f"the tests did not end within {TIMEOUT:g} s", flush=True)
        return TIMED_OUT
    return 0 if code == NO_TESTS else code


if __name__ == "__main__":
    sys.exit(main())
