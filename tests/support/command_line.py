"""The command line, called in this process."""

from __future__ import annotations

import io
from pathlib import Path

from runner.cli.main import main


def run(output: Path, *argv: str) -> tuple[int, str, str]:
    """Run a command line on a folder of runs and return exit code, stdout and stderr."""
    raw, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(raw, encoding="utf-8")
    code = main([*argv, "--output", str(output)], environment={}, out=out, err=err)
    out.flush()
    return code, raw.getvalue().decode(), err.getvalue()
