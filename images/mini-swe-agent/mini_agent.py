"""Run mini-swe-agent's command line once, without anybody at the keyboard, and say how it ended.

The command line exits with 0 also when the agent gave up; its trajectory says more. The recipes of mini-swe-agent and
ghspec each carry a copy of this file, since an image is made from one folder; a test keeps the copies alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

SETTINGS = Path(__file__).with_name("agent.yaml")
SUBMITTED = "Submitted"
"""The agent's word for "I have finished"; every other word means that it has not."""
DETAIL_LIMIT = 500
"""Characters of an agent's last words that a phase keeps; the trajectory has all of them."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One entry of `phases` in result.json."""

    name: str
    seconds: float | None
    exit_code: int | None
    detail: str
    started_at: float | None = None
    """Seconds since the epoch."""


def run_agent(name: str, task: str, *, seed: int, folder: Path) -> Phase:
    """Give the agent a task in the current directory and wait for its end.

    Args:
        name: name of the phase; the task and the trajectory are kept as <folder>/<name>.task.yaml and .traj.json.
        task: what the agent is to do.
        seed: passed to the model with each call.
        folder: where task and trajectory are kept.

    Returns:
        The phase; its exit code is 0 only if the agent said that it had finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trajectory = folder / f"{name}.traj.json"
    # In a file, because one argument holds at most 128 KiB.
    task_file = folder / f"{name}.task.yaml"
    task_file.write_text(yaml.safe_dump({"run": {"task": task}}, allow_unicode=True), encoding="utf-8")
    started_at, started = time.time(), time.monotonic()
    code = subprocess.run(_command(task_file, trajectory, seed), stdin=subprocess.DEVNULL, check=False).returncode
    seconds = round(time.monotonic() - started, 3)
    status, words = read_ending(trajectory)
    if status != SUBMITTED:
        code = code or 1
    detail = status if words in ("", status) else f"{status}: {words}"
    return Phase(name=name, seconds=seconds, exit_code=code, detail=detail, started_at=started_at)


def _command(task_file: Path, trajectory: Path, seed: int) -> list[str]:
    # The prefix makes litellm speak the OpenAI protocol whatever the model is called.
    model = f"openai/{os.environ['RUNNER_MODEL']}"
    settings = ["mini.yaml", str(SETTINGS), str(task_file), f"model.model_kwargs.seed={seed}"]
    options = [argument for setting in settings for argument in ("--config", setting)]
    return ["mini", "--yolo", "--exit-immediately", "--model", model, "--output", str(trajectory), *options]


def read_ending(trajectory: Path) -> tuple[str, str]:
    """Return the agent's exit status and the beginning of its last words, from its trajectory.

    The trajectory is a JSON object with `info.exit_status` and `messages` (format mini-swe-agent-1.1).
    """
    try:
        content = json.loads(trajectory.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "NoTrajectory", "the agent ended before its first model call"
    except ValueError:
        return "BadTrajectory", "the agent's trajectory is no JSON"
    messages = content.get("messages") or [{}]
    words = str(messages[-1].get("content") or "").strip()
    return content.get("info", {}).get("exit_status") or "Unfinished", " ".join(words.split())[:DETAIL_LIMIT]


def write_result(path: Path, message: str, phases: list[Phase]) -> None:
    """Write result.json anew, so that a step that is killed leaves what it had reported."""
    content = {"version": 1, "message": message, "phases": [asdict(phase) for phase in phases]}
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
