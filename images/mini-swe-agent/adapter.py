"""Perform one step with mini-swe-agent: the step's prompt is the agent's task."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mini_agent import run_agent, write_result

STEP = Path("/in/step.json")
PROMPT = Path("/in/prompt.txt")
OUT = Path("/out")


def main() -> int:
    """Run the agent on /in/prompt.txt in the working directory; return the step's exit code."""
    step = json.loads(STEP.read_text(encoding="utf-8"))
    write_result(OUT / "result.json", "the agent has not ended", [])
    phase = run_agent("agent", PROMPT.read_text(encoding="utf-8"), seed=step["seed"], folder=OUT / "phases")
    write_result(OUT / "result.json", f"the agent ended: {phase.detail}", [phase])
    if phase.exit_code:
        print(f"adapter: the agent did not finish: {phase.detail}", file=sys.stderr)
    return phase.exit_code or 0


if __name__ == "__main__":
    sys.exit(main())
