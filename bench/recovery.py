#!/usr/bin/env python3
"""Measure what a killed runner costs, what limits cost, and that experiments side by side keep to the machine.

- `recovery_8_containers_seconds`: from the start of `runner go` until it waits for each of eight containers that a killed
  one has left.
- `limits_watch_ratio`: a run of one no-op step on a fake engine with its limits watched, against one without the watch.
- `limits_engine_ratio`: a container with every limit that the engine enforces, against one with none.
- `admission_most_cores`: the most that containers of two experiments reserve together on a machine of two cores, each of which
  wants more than there is; looked at many times a second. `admission_idle_share`: part of the looks at which room was left,
  containers of everybody else on the machine counted as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median

from reporting import report
from scheduling import layers, time_run

from runner.engine.admission import reserved
from runner.engine.docker import connect
from runner.engine.protocol import ContainerState, Engine
from runner.execution import attempt
from runner.execution.watch import Bounds, Watch
from runner.names import LABEL_KIND, LABEL_RUN_DIR

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench-recovery"
PROJECT = FOLDER / "project"
RUNNER = str(ROOT / ".venv" / "bin" / "runner")
CLIENT = shutil.which("docker", path="/usr/bin") or "docker"
CONTAINERS = 8
CORES = 2.0
ROUNDS = 5
_LOOK_AGAIN = 0.05
_PATIENCE = 120.0
_ADOPTED = "its container still runs, and is waited for"

THRESHOLDS = {
    "recovery_8_containers_seconds": 2.0,
    "limits_watch_ratio": 1.2,
    "limits_engine_ratio": 1.3,
    "admission_most_cores": CORES,
}
"""Figure -> largest value that is accepted."""


def main() -> int:
    """Print the figures as JSON; return 1 if one is beyond its threshold, else 0."""
    return report(measure(), THRESHOLDS)


def measure() -> dict[str, float]:
    """Return every figure; what was made for it is removed."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    shutil.copytree(ROOT / "bench" / "project", PROJECT)
    try:
        _write_site(64.0)
        _run("images", "build", "noop")
        with connect(os.environ) as engine:
            return {
                "recovery_8_containers_seconds": time_recovery(engine),
                **compare_watching(),
                "limits_engine_ratio": compare_limits(),
                **watch_admission(engine),
            }
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def time_recovery(engine: Engine) -> float:
    """Kill a runner with eight containers at work, and return the seconds in which the next one has adopted all."""
    seconds = []
    for number in range(3):
        output = FOLDER / f"recovery-{number}"
        with _going("nap", output) as runner:
            _until(partial(_all_run, engine, output), output)
            runner.kill()
        begun = time.perf_counter()
        with _going("nap", output) as runner:
            _until(partial(_all_adopted, output), output)
            seconds.append(time.perf_counter() - begun)
            runner.terminate()
            runner.wait()
    return median(seconds)


def compare_watching() -> dict[str, float]:
    """Compare runs of twenty no-op steps with and without the watch."""

    @contextmanager
    def unwatched(bounds: Bounds, _stop: Callable[[], None]) -> Iterator[Watch]:
        with nullcontext(Watch(bounds=bounds)) as watch:
            yield watch

    steps = layers(1, "own")[:20]
    sides: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(2 * ROUNDS):
        sides["with"].append(time_run(steps, "watched"))
        with (
            _swapped(attempt, "watched", unwatched),
            _swapped(Watch, "at_end", _nothing_found),
        ):
            sides["without"].append(time_run(steps, "unwatched"))
    watched, bare = median(sides["with"]), median(sides["without"])
    return {
        "limits_watch_ratio": watched / bare,
        "limits_watch_milliseconds_per_step": 1000 * (watched - bare) / len(steps),
    }


def _nothing_found(_watch: Watch, _tree: object) -> str:
    return ""


@contextmanager
def _swapped(owner: object, name: str, value: object) -> Iterator[None]:
    """Have something stand in for a function inside the block."""
    plain = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, plain)


def compare_limits() -> float:
    """Compare containers that do nothing, with and without the limits that the engine enforces, by its own client."""
    tag = json.loads(_run("plan", "noop", "--repetitions", "1", "--json"))["runs"][0]["image"]["tag"]
    limits = "--memory=64m --memory-swap=64m --cpus=1 --pids-limit=512 --shm-size=64m --ulimit=fsize=4294967296"
    common = [CLIENT, "run", "--rm", "--init", "--network=none", "--read-only", "--tmpfs=/tmp"]
    sides = {"with": [*common, *limits.split(), tag, "true"], "without": [*common, tag, "true"]}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(2 * ROUNDS):
        for name, command in sides.items():
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - begun)
    return median(seconds["with"]) / median(seconds["without"])


def watch_admission(engine: Engine) -> dict[str, float]:
    """Let two experiments of four cores each share two cores, and look at what the engine runs."""
    _write_site(CORES)
    outputs = [FOLDER / name for name in ("ada", "bob")]
    looks = []
    with _going("doze", outputs[0]) as ada, _going("doze", outputs[1]) as bob:
        while ada.poll() is None or bob.poll() is None:
            running = [one for output in outputs for one in _running(engine, output)]
            everybody = engine.observer.find({LABEL_KIND: "attempt"})
            looks.append((reserved(running).cpus, reserved(everybody).cpus))
            time.sleep(_LOOK_AGAIN)
    busy = looks[: max((number for number, (cores, _) in enumerate(looks) if cores), default=0) + 1]
    return {
        "admission_most_cores": max(own for own, _ in looks),
        "admission_idle_share": sum(everybody < CORES for _, everybody in busy) / len(busy),
        "admission_looks": float(len(looks)),
    }


def _write_site(cores: float) -> None:
    """Write the rules of a machine that is as large as is said, whoever else is at work on it."""
    (FOLDER / "site.yaml").write_text(f"cpus: {cores}\nmemory: 1TiB\nkeep_memory: 0\nmost_load: 1000\n")


@contextmanager
def _going(experiment: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a runner at work inside the block; it is killed after it."""
    output.mkdir(exist_ok=True)
    with (output / ".said").open("wb") as said:
        command = [RUNNER, "-C", str(PROJECT), "go", experiment, "--jobs", str(CONTAINERS), "--output", str(output)]
        runner = subprocess.Popen(
            [*_apart(), *command], env=_environment(), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    try:
        yield runner
    finally:
        runner.kill()
        runner.wait()


def _apart() -> list[str]:
    """Return what goes before a command for it to have a register of reservations of its own, and not the machine's.

    Runners that wait under the machine's rules would come before those that are measured, which have other rules.
    """
    if os.geteuid() or not shutil.which("unshare"):
        return []
    shared = FOLDER / "lock"
    shared.mkdir(exist_ok=True)
    shared.chmod(0o1777)
    return ["unshare", "--mount", "sh", "-c", f'mount --bind "{shared}" /run/lock && exec "$@"', "sh"]


def _all_run(engine: Engine, output: Path) -> bool:
    return len(_running(engine, output)) == CONTAINERS


def _all_adopted(output: Path) -> bool:
    return _said(output).count(_ADOPTED) == CONTAINERS


def _said(output: Path) -> str:
    return (output / ".said").read_text("utf-8", "replace")


def _running(engine: Engine, output: Path) -> list[ContainerState]:
    found = engine.observer.find({LABEL_KIND: "attempt"})
    return [one for one in found if one.status == "running" and one.labels[LABEL_RUN_DIR].startswith(f"{output}/")]


def _until(true: Callable[[], bool], output: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"what is waited for does not come about; the runner said:\n{_said(output)[-2000:]}")
        time.sleep(0.01)


def _environment() -> dict[str, str]:
    return {**os.environ, "RUNNER_SITE": str(FOLDER / "site.yaml")}


def _run(*arguments: str) -> str:
    command = [RUNNER, "-C", str(PROJECT), *arguments]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
