"""The upstream as a process of a test's own, and what it says it stated."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2]


@contextlib.contextmanager
def upstream(key: str, *, seed: int = 1, answers: Path | None = None) -> Iterator[str]:
    """Run the upstream while the block lasts; gives its address, without a version."""
    more = [str(answers)] if answers is not None else []
    command: Sequence[str] = [sys.executable, "-m", "support.upstream", key, str(seed), *more]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().split()[-1]}"
        finally:
            process.terminate()


def stated(address: str) -> list[dict[str, Any]]:
    """Return what the upstream stated, call by call, faults among it."""
    with urllib.request.urlopen(f"{address}/stated", timeout=60) as answer:
        lines: list[dict[str, Any]] = json.load(answer)
    return lines
