"""Run the entry shim as a process on this host, with its folders and ports elsewhere."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SHIM = Path(__file__).parents[3] / "images/base/rootfs/usr/local/bin/runner-shim"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a step came to."""

    code: int
    stdout: bytes
    stderr: bytes
    report: dict[str, Any]


@pytest.fixture
def argv(tmp_path: Path) -> Callable[..., list[str]]:
    """Return what makes the command line of a shim that reports into the test's folder."""

    def make(
        *command: str,
        deadline: float = 100,
        grace: float = 1,
        log: int = 1 << 20,
        out: Path = tmp_path,
        more: tuple[str, ...] = (),
    ) -> list[str]:
        options = [f"--deadline={deadline}", f"--grace={grace}", f"--log-limit={log}", f"--out={out}", *more]
        return [str(SHIM), *options, "--", *command]

    return make


@pytest.fixture
def report(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """Return what reads the shim's report; nothing if there is none."""

    def read() -> dict[str, Any]:
        path = tmp_path / ".shim.json"
        content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return content

    return read


@pytest.fixture
def shim(argv: Callable[..., list[str]], report: Callable[[], dict[str, Any]]) -> Callable[..., Ended]:
    """Run a command under the shim to its end."""

    def run(*command: str, **options: Any) -> Ended:
        done = subprocess.run(argv(*command, **options), capture_output=True, check=False, timeout=200)
        return Ended(code=done.returncode, stdout=done.stdout, stderr=done.stderr, report=report())

    return run
