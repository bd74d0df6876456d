#!/usr/bin/env python3
"""Measure listing, filtering and counting in a ledger of 100,000 finished runs, as a user types it.

The ledger is filled as `runner ledger rebuild` would fill it, without writing 100,000 run directories.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from reporting import report

from runner.evidence.records import METRIC_NAMES
from runner.ledger.database import connected, transaction
from runner.ledger.store import ledger_path, open_ledger

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench-ledger"
RUNNER = str(ROOT / ".venv" / "bin" / "runner")
RUNS = 100_000
ROUNDS = 5
FRAMEWORKS = ("ghspec", "mini-swe-agent", "chatdev", "baes")
SCENARIOS = ("hello", "crud", "shop", "library", "forum")
OUTCOMES = ("passed", "passed", "passed", "failed", "timed_out", "broken")

ESTIMATE = {
    "experiments": ("all",),
    "frameworks": ("chatdev",),
    "scenarios": ("crud",),
    "outcomes": ("passed", "failed", "timed_out", "exceeded"),
}
"""What `runner go` reads of earlier runs of its experiment, to say how long it will take."""

THRESHOLDS = {
    "ledger_100k_list_added_seconds": 0.5,
    "ledger_100k_filter_added_seconds": 0.5,
    "ledger_100k_latest_seconds": 0.2,
    "ledger_100k_count_seconds": 0.3,
    "ledger_100k_every_row_seconds": 5.0,
    "ledger_100k_estimate_seconds": 0.5,
}
"""Figure -> largest value that is accepted."""


def main() -> int:
    """Print the figures as JSON; return 1 if one is beyond its threshold, else 0."""
    return report(measure(), THRESHOLDS)


def measure() -> dict[str, float]:
    """Return every figure, medians of several rounds; what was made for it is removed.

    What is added is what `runner runs` takes longer than on a folder without runs, printing the table of 200 included.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        fill(FOLDER)
        with open_ledger(ledger_path(FOLDER)) as ledger:
            inside = {
                "ledger_100k_latest_seconds": timed(lambda: ledger.rows(newest=200)),
                "ledger_100k_count_seconds": timed(ledger.counts),
                "ledger_100k_every_row_seconds": timed(ledger.rows),
                "ledger_100k_estimate_seconds": timed(lambda: ledger.rows(**ESTIMATE, newest=20)),
            }
        return {**measure_commands(), **inside}
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def measure_commands() -> dict[str, float]:
    """Time the commands in turn, so that a busy machine slows all of them."""
    command = [RUNNER, "-C", str(ROOT), "runs", "--output"]
    chosen = ("--framework", "chatdev", "--outcome", "failed,broken", "--experiment", "exp-2")
    sides = {
        "nothing": ([*command, str(FOLDER / "none")], "no runs"),
        "list": ([*command, str(FOLDER)], "that began last"),
        "filter": ([*command, str(FOLDER), *chosen], "that began last"),
    }
    (FOLDER / "none").mkdir(exist_ok=True)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, (argv, said) in sides.items():
            begin = time.perf_counter()
            run(argv, said)
            seconds[name].append(time.perf_counter() - begin)
    nothing = median(seconds["nothing"])
    return {f"ledger_100k_{name}_added_seconds": median(seconds[name]) - nothing for name in ("list", "filter")}


def fill(output: Path) -> None:
    """Enter the runs."""
    with connected(ledger_path(output)) as connection, transaction(connection):
        connection.executemany(
            "INSERT INTO runs (digest, run_id, experiment, framework, scenario, repetition, directory, state, fence,"
            " outcome, reason, model_label, started_at, finished_at, metrics, images)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'done', 1, ?, ?, 'scripted model', ?, ?, ?, 'sha256:0')",
            _rows(),
        )
        connection.execute("INSERT INTO memberships SELECT experiment, digest FROM runs")
        connection.execute("INSERT INTO memberships SELECT 'all', digest FROM runs")


def _rows() -> Iterator[tuple[object, ...]]:
    metrics = json.dumps(dict.fromkeys(METRIC_NAMES, 12345.678))
    for number in range(RUNS):
        framework, scenario = FRAMEWORKS[number % len(FRAMEWORKS)], SCENARIOS[number // 7 % len(SCENARIOS)]
        outcome = OUTCOMES[number // 3 % len(OUTCOMES)]
        # Digests are spread like real ones, so that their index is no better than a real one.
        digest = f"{number * 2654435761 % 2**64:016x}" * 4
        run_id = f"{scenario}-r{number}-{digest[:10]}"
        begun = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(1.7e9 + number * 60))
        reason = "" if outcome == "passed" else "step course: exit code 3, and some words of what it printed last"
        yield (
            digest,
            run_id,
            f"exp-{number % 10}",
            framework,
            scenario,
            number,
            f"{framework}/{run_id}",
            outcome,
            reason,
            begun,
            begun,
            metrics,
        )


def timed(action: Callable[[], object]) -> float:
    """Return the median of the seconds that something takes, after once for the page cache."""
    action()
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def run(command: list[str], said: str) -> None:
    """Run a program to its end; end the measurement if it fails, or does not say what it should."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0 or said not in done.stdout:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
