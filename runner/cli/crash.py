"""Keep the traceback of a defect in a file, so that the terminal gets one clear sentence."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from runner.errors import RunnerError
from runner.names import PROJECT


def program_version() -> str:
    """Return the version of this program."""
    return metadata.version(PROJECT)


def keep_traceback(error: BaseException, argv: Sequence[str], start: Path | None = None) -> RunnerError:
    """Write the traceback to `.runner/crash-*.log` of the project, or to the temporary folder outside of one.

    Args:
        error: what nobody expected.
        argv: the command line.
        start: where the project is looked for; the current folder by default.

    Returns:
        What to show instead.
    """
    where = [one / ".runner" for one in _projects(start or Path.cwd())] + [Path(tempfile.gettempdir())]
    text = f"runner {program_version()}, Python {sys.version.split()[0]}\narguments: {list(argv)}\n\n"
    text += "".join(traceback.format_exception(error))
    name = f"crash-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
    kept = next((path for folder in where if (path := _write(folder, name, text))), None)
    return RunnerError(
        f"a defect of runner itself: {type(error).__name__}: {error}",
        why=f"the traceback is in {kept}" if kept else text,
        hint="nothing on disk is lost; `runner go` continues. Please report the file with what you did.",
    )


def _projects(start: Path) -> list[Path]:
    """Return the project around a folder, if there is one; the same rule as `runner.spec.project`, without its errors."""
    return [one for one in (start, *start.parents) if (one / "config").is_dir() and (one / "images").is_dir()][:1]


def _write(folder: Path, name: str, text: str) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    return path
