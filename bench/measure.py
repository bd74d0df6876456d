#!/usr/bin/env python3
"""Measure what the project promises about its own speed, as ratios within one session; `make bench` runs this.

Writes build/bench.json and ends with 1 if a figure is beyond its threshold. Both sides of a ratio are measured in turn,
warm, several times, and their medians compared, so that a busy machine slows both. `--metered N` makes the longest part
shorter: metering is compared for N calls instead of 10,000.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import history
import ledger
import recovery
import scheduling
from gateway.measuring import METERED, measure_gateway

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PROJECT = BUILD / "bench-project"
RUNNER = str(ROOT / ".venv" / "bin" / "runner")
PYTHON = str(ROOT / ".venv" / "bin" / "python")
CLIENT = shutil.which("docker", path="/usr/bin") or "docker"
"""The distribution's own client, where there are several: it belongs to the distribution's engine."""
RUNS = 40
JOBS = 4
PLANNED = 100_000

THRESHOLDS = {
    "run_overhead_ratio": 1.5,
    "help_ratio": 8.0,
    "plan_100k_seconds": 20.0,
    "plan_100k_peak_bytes": float(1024**3),
    "images_warm_seconds": 2.0,
    "gateway_added_latency_p50_seconds": 0.003,
    "gateway_added_first_byte_seconds": 0.003,
    "gateway_rss_200_streams_bytes": 150.0 * 1024**2,
    "gateway_metering_differences": 0.0,
    **history.THRESHOLDS,
    **ledger.THRESHOLDS,
    **recovery.THRESHOLDS,
    **scheduling.THRESHOLDS,
}
"""Figure -> largest value that is accepted."""
FLOORS = {"gateway_stream_throughput_ratio": 0.9, **history.LEAST}
"""Figure -> smallest value that is accepted."""

Samples = dict[str, list[float]]


def main(metered: int = METERED) -> int:
    """Measure everything, write the figures, and compare them with their thresholds.

    Args:
        metered: how many calls metering is compared for.

    Returns:
        1 if a figure is beyond its threshold, else 0.
    """
    samples: Samples = {}
    say("measuring the gateway")
    gateway = measure_gateway(samples, metered=metered)
    _prepare()
    figures = {
        **measure_images(samples),
        **measure_runs(samples),
        **measure_help(samples),
        **measure_planning(),
        **gateway,
        **history.measure(),
        **ledger.measure(),
        **recovery.measure(),
        **scheduling.measure(),
    }
    BUILD.mkdir(exist_ok=True)
    limits = {"thresholds": THRESHOLDS, "floors": FLOORS}
    document = {**figures, **limits, "samples": samples, "machine": machine()}
    (BUILD / "bench.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(not all([_accept(figures), _accept(figures, floors=True)]))


def _accept(figures: dict[str, float], *, floors: bool = False) -> bool:
    """Say how each figure compares with its threshold; return whether all are accepted."""
    accepted = True
    for name, limit in (FLOORS if floors else THRESHOLDS).items():
        fits = figures[name] >= limit if floors else figures[name] <= limit
        accepted = accepted and fits
        words, verdict = ("at least", "TOO SMALL") if floors else ("at most", "TOO LARGE")
        say(f"{name:<34} {figures[name]:>16.4f}   {words:<8} {limit:>16.4f}   {'ok' if fits else verdict}")
    return accepted


def _prepare() -> None:
    """Copy the project of no-op runs, so that measuring leaves nothing in the checkout, and build its image.

    What Python compiles at the first start only is there afterwards, even if this environment forbids Python to keep it.
    """
    run([sys.executable, "-m", "compileall", "-q", str(ROOT / "runner")])
    shutil.rmtree(PROJECT, ignore_errors=True)
    shutil.copytree(ROOT / "bench" / "project", PROJECT)
    say("building the image of the no-op framework")
    run([RUNNER, "-C", str(PROJECT), "images", "build", "noop"])


def measure_runs(samples: Samples) -> dict[str, float]:
    """Compare a whole `runner go` of no-op runs with the engine's own client doing the least it can."""
    tag = _tag()
    client = f"seq {RUNS} | xargs -P{JOBS} -I{{}} {CLIENT} run --rm --init --network none {tag} true"

    def with_runner() -> None:
        for folder in ("runs", ".runner"):
            shutil.rmtree(PROJECT / folder, ignore_errors=True)
        run([RUNNER, "-C", str(PROJECT), "go", "noop", "--jobs", str(JOBS), "--repetitions", str(RUNS)])

    def with_client() -> None:
        run(["sh", "-c", client])

    # What the first round costs on top, such as filling the page cache, is nobody's figure.
    with_client()
    with_runner()
    both = alternate({"runner_go_seconds": with_runner, "docker_run_seconds": with_client}, 5, samples)
    return {**both, "run_overhead_ratio": both["runner_go_seconds"] / both["docker_run_seconds"]}


def _tag() -> str:
    """Return the tag of the no-op framework's image, as the plan names it."""
    plan = json.loads(run([RUNNER, "-C", str(PROJECT), "plan", "noop", "--repetitions", "1", "--json"]))
    return str(plan["runs"][0]["image"]["tag"])


def measure_help(samples: Samples) -> dict[str, float]:
    """Compare `runner --help` with starting Python."""
    both = alternate(
        {"help_seconds": lambda: run([RUNNER, "--help"]), "python_seconds": lambda: run([PYTHON, "-c", "pass"])},
        9,
        samples,
    )
    return {**both, "help_ratio": both["help_seconds"] / both["python_seconds"]}


def measure_planning() -> dict[str, float]:
    """Plan many runs in a process of their own, and take its time and its peak memory (`ru_maxrss`, KiB on Linux)."""
    say(f"planning {PLANNED} runs")
    command = [PYTHON, str(ROOT / "bench" / "plan_many.py"), str(PROJECT), str(PLANNED)]
    answer = BUILD / "bench-plan.json"
    with answer.open("wb") as output, subprocess.Popen(command, stdout=output) as process:
        # Only this call tells the peak of one child, and not the largest of all.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    result = json.loads(answer.read_text(encoding="utf-8"))
    if (result["runs"], result["distinct"]) != (PLANNED, PLANNED):
        raise SystemExit(f"planned {result['runs']} runs with {result['distinct']} digests, not {PLANNED} of each")
    return {"plan_100k_seconds": result["seconds"], "plan_100k_peak_bytes": usage.ru_maxrss * 1024}


def measure_images(samples: Samples) -> dict[str, float]:
    """Time `make images` when there is nothing left to do."""
    command = ["make", "-C", str(ROOT), "images"]
    run(command)
    return alternate({"images_warm_seconds": lambda: run(command)}, 3, samples)


def alternate(sides: dict[str, Callable[[], object]], rounds: int, samples: Samples) -> dict[str, float]:
    """Time each of `sides` in turn, `rounds` times, keep all times in `samples`, and return their medians."""
    for number in range(rounds):
        for name, action in sides.items():
            begin = time.perf_counter()
            action()
            samples.setdefault(name, []).append(time.perf_counter() - begin)
        say(f"round {number + 1}: " + ", ".join(f"{name} {samples[name][-1]:.3f}" for name in sides))
    return {name: median(samples[name]) for name in sides}


def run(command: Sequence[str]) -> str:
    """Run a program to its end and return what it printed; end the measurement if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def machine() -> dict[str, object]:
    """Return the facts that explain absolute times."""
    engine = run([CLIENT, "version", "--format", "{{.Server.Version}}"]).strip()
    return {
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "engine": engine,
        "load": os.getloadavg(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure against the thresholds, into build/bench.json.")
    parser.add_argument("--metered", type=int, default=METERED, help="calls that metering is compared for")
    sys.exit(main(parser.parse_args().metered))
