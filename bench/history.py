#!/usr/bin/env python3
"""Measure keeping, comparing and opening steps, and archiving, on a virtual environment of about 100 MB.

Archiving is compared in turn with `tar` and a compressor on the same tree, keeping with looking at every file once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from reporting import report

from runner.evidence.archive import write_archive
from runner.evidence.copies import write_folder, write_packed
from runner.evidence.history.diff import differences, state, text_diffs
from runner.evidence.history.oci import read_steps
from runner.evidence.history.restore import restore
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.tree import scan

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench-history"
PACKAGES = ROOT / ".venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
SIZE = 100 * 1000**2
ROUNDS = 5
SMALL = 1000
"""Bytes below which a source file is left out of the growing workspace."""
GROWTH = (200, 350, 500, 650, 800, 950)
"""Kilobytes of the workspace after each of six steps: the example by which a folder per step was once weighed."""
COMMANDS = {"zstd": "tar -cf - . | zstd -3 -q -f -o {0}", "gzip": "tar -cf - . | gzip > {0}"}
"""What archiving is compared with."""
SYNCED = "{0} && sync {1}"
"""The same, and on the disk when it has ended, as an archive of ours is."""

THRESHOLDS = {
    "history_size_ratio_growth": 1.15,
    "history_size_ratio_venv": 1.15,
    "snapshot_unchanged_seconds": 0.3,
}
"""Figure -> largest value that is accepted."""
LEAST = {"archive_zstd_ratio": 1.0, "archive_gzip_ratio": 1.0}
"""Figure -> smallest value that is accepted."""


def main() -> int:
    """Print the figures as JSON; return 1 if one is beyond its threshold, else 0."""
    return report(measure(), THRESHOLDS, LEAST)


def measure() -> dict[str, float]:
    """Return every figure; what was made for it is removed.

    `archive_..._ratio` is our throughput, that of the pipeline with a sync at its end being 1, `archive_..._ratio_unsynced`
    that of the pipeline alone, which leaves its file in memory while ours is on the disk. Each at its best of several
    rounds: whatever else the machine does only ever makes one slower.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        figures = {
            **measure_growth(RunLayout(FOLDER / "fw" / "growth")),
            **measure_venv(RunLayout(FOLDER / "fw" / "venv")),
        }
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    return figures


def measure_growth(layout: RunLayout) -> dict[str, float]:
    """Grow a workspace of source files in six steps, each of which also changes a file of the step before."""
    sources = sorted(path for path in PACKAGES.rglob("*.py") if path.stat().st_size > SMALL)
    layout.workspace.mkdir(parents=True)
    used = 0
    for number, kilobytes in enumerate(GROWTH, start=1):
        while sum(path.stat().st_size for path in layout.workspace.iterdir()) < kilobytes * 1000:
            shutil.copy(sources[used], layout.workspace / f"{used:04d}.py")
            used += 1
        first = next(iter(sorted(layout.workspace.iterdir())))
        first.write_text(first.read_text(encoding="utf-8") + f"# step {number}\n", encoding="utf-8")
        _keep(layout, number)
    return {"history_size_ratio_growth": _bytes(layout.history) / _bytes(layout.workspace)}


def measure_venv(layout: RunLayout) -> dict[str, float]:
    """Keep a large workspace that is hardly changed, compare and open its steps, and archive it."""
    _fill(layout.workspace)
    time.sleep(0.1)
    _keep(layout, 1)
    walked = _timed(lambda: _look(layout.workspace))
    numbers = iter(range(2, 100))
    unchanged = _timed(lambda: _keep(layout, next(numbers)))
    changed = []
    for _ in range(ROUNDS):
        (layout.workspace / "more.py").write_text(f"{next(numbers)}\n", encoding="utf-8")
        changed.append(_once(lambda: _keep(layout, next(numbers))))
    figures = {
        "snapshot_unchanged_seconds": unchanged,
        "snapshot_unchanged_ratio": unchanged / walked,
        "snapshot_changed_seconds": median(changed),
        "history_size_ratio_venv": _bytes(layout.history) / _bytes(layout.workspace),
        "diff_seconds": _timed(lambda: _diff(layout)),
        "open_seconds": _once(lambda: restore(layout.history, read_steps(layout.history)[-1], FOLDER / "opened")),
    }
    figures |= _copies(layout)
    shutil.rmtree(layout.history)
    shutil.rmtree(layout.root / "steps")
    for kind in COMMANDS:
        figures |= _archives(layout, kind)
    return figures


def _copies(layout: RunLayout) -> dict[str, float]:
    """Measure what `history: full` and `compressed` cost besides, for a first step and for one like it."""
    first, *_, last = read_steps(layout.history)
    return {
        "full_first_seconds": _once(lambda: write_folder(layout, first)),
        "full_next_seconds": _once(lambda: write_folder(layout, last)),
        "compressed_seconds": _once(lambda: write_packed(layout, last)),
        "compressed_size_ratio": layout.step(last.number).packed_copy.stat().st_size / _bytes(layout.workspace),
    }


def _archives(layout: RunLayout, kind: str) -> dict[str, float]:
    command = COMMANDS[kind].format(FOLDER / "by-tar")
    synced = SYNCED.format(command, FOLDER / "by-tar")
    ours, theirs, lasting = [], [], []
    for _ in range(ROUNDS):
        theirs.append(_once(lambda: subprocess.run(["sh", "-c", command], cwd=layout.root, check=True)))
        lasting.append(_once(lambda: subprocess.run(["sh", "-c", synced], cwd=layout.root, check=True)))
        ours.append(_once(lambda: write_archive(layout, kind)))
        for path in layout.root.glob("run.tar*"):
            path.unlink()
    best = min(ours)
    return {
        f"archive_{kind}_seconds": best,
        f"archive_{kind}_ratio": min(lasting) / best,
        f"archive_{kind}_ratio_unsynced": min(theirs) / best,
    }


def _fill(workspace: Path) -> None:
    workspace.mkdir(parents=True)
    for path in sorted(PACKAGES.iterdir()):
        if _bytes(workspace) > SIZE:
            return
        if path.is_dir():
            shutil.copytree(path, workspace / path.name, symlinks=True)


def _keep(layout: RunLayout, number: int) -> None:
    history = open_history(layout.history)
    take_snapshot(history, layout.workspace, scan(layout.workspace), number, f"step{number}")


def _diff(layout: RunLayout) -> None:
    old, new = (state(layout.history, step) for step in read_steps(layout.history)[-2:])
    list(text_diffs(old, new, differences(old, new)))


def _look(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            os.lstat(f"{folder}/{name}")


def _bytes(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file())


def _timed(action: Callable[[], object]) -> float:
    return median(_once(action) for _ in range(ROUNDS))


def _once(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
