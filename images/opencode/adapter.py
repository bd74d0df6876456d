"""Perform one step with OpenCode: the step's prompt is the message of a new session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

STEP = Path("/in/step.json")
PROMPT = Path("/in/prompt.txt")
OUT = Path("/out")
PROGRAM = Path(__file__).parent / "node_modules" / "opencode-linux-x64-baseline" / "bin" / "opencode"
SETTINGS = Path(__file__).with_name("opencode.json")
PROVIDER = "gateway"
"""Name in opencode.json of the one provider of models."""
DETAIL_LIMIT = 500
"""Characters of the agent's last words that the phase keeps; the list of events has all of them."""
FINISHED = "stop"
"""The reason that a model gives for an answer after which nothing is left to do."""


def main() -> int:
    """Run the agent on /in/prompt.txt in the working directory; return the step's exit code."""
    step = json.loads(STEP.read_text(encoding="utf-8"))
    write_result("the agent has not ended", [])
    events = OUT / "phases" / "agent.jsonl"
    events.parent.mkdir(parents=True, exist_ok=True)
    started_at, started = time.time(), time.monotonic()
    with PROMPT.open("rb") as prompt, events.open("wb") as out:
        command = [str(PROGRAM), "run", "--format", "json", "--title", step["step"]["id"]]
        code = subprocess.run(
            command, stdin=prompt, stdout=out, env=os.environ | surroundings(step["seed"]), check=False
        ).returncode
    finished, detail = read_ending(events)
    code = code if finished else code or 1
    phase = {
        "name": "agent",
        "started_at": started_at,
        "seconds": round(time.monotonic() - started, 3),
        "exit_code": code,
        "detail": detail,
    }
    write_result(f"the agent ended: {detail}", [phase])
    if code:
        print(f"adapter: the agent did not finish: {detail}", file=sys.stderr)
    return code


def surroundings(seed: int) -> dict[str, str]:
    """Return the variables that OpenCode is started with: its settings, with the step's model and seed in them."""
    settings = json.loads(SETTINGS.read_text(encoding="utf-8"))
    model = os.environ["RUNNER_MODEL"]
    settings["provider"][PROVIDER]["models"] = {model: {"name": model, "options": {"seed": seed}}}
    settings |= {"model": f"{PROVIDER}/{model}", "small_model": f"{PROVIDER}/{model}"}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(settings)}


def read_ending(events: Path) -> tuple[bool, str]:
    """Return whether the agent came to an end of its own, and its last words or what kept it, from its events.

    OpenCode prints a JSON object for each event, one a line: `error` has the failure, `text` a piece of an answer,
    `step_finish` the reason for which an answer ended. Its exit code is 0 also after a failed call.
    """
    words, reason, failure = "", "", ""
    for event in _read(events):
        part = event.get("part") or {}
        match event.get("type"):
            case "error":
                failure = json.dumps(event.get("error"), ensure_ascii=False)
            case "text":
                words = str(part.get("text") or "").strip()
            case "step_finish":
                reason = str(part.get("reason") or "")
    if failure or reason != FINISHED:
        told = failure or f"the last answer ended with: {reason or 'nothing'}"
        return False, told[:DETAIL_LIMIT]
    return True, " ".join(words.split())[:DETAIL_LIMIT]


def _read(events: Path) -> Iterator[dict[str, dict[str, object] | str]]:
    """Yield the events; a line that is none is something a child of the agent printed."""
    for line in events.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def write_result(message: str, phases: list[dict[str, object]]) -> None:
    """Write result.json anew, so that a step that is killed leaves what it had reported."""
    path = OUT / "result.json"
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps({"version": 1, "message": message, "phases": phases}, indent=2) + "\n", "utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
