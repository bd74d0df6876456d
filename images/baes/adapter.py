"""Perform one step with BAEs: the step's prompt is one request to its command line for machines.

The command line cannot be the step's command itself. The model's name has to be put where the framework looks for it,
its relative paths (`logs/`, `database/`) have to lead to the run's state, and of its phases there is nothing but what
it prints when one begins. So its program is run in this process, as `python bae_noninteractive.py` would run it, and
what it prints is listened to: a line is seen before the program goes on.
"""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

PROGRAM = Path("/opt/framework/source/bae_noninteractive.py")
PROMPT = Path("/in/prompt.txt")
OUT = Path("/out")
HOME = Path("/state/baes")
"""Working directory of the framework, which writes `logs/` and `database/` into it."""
INTERPRET = "interpret"
"""The phase before the first task: what the request is about, and what is to be done."""
TASK = re.compile(r"Step [0-9]+/[0-9]+: (?:\w+swea\.)?(.+?)\.\.\.", re.IGNORECASE)
"""How the framework announces a task of its plan, with the task's name in words."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One entry of `phases` in result.json."""

    name: str
    started_at: float
    """Seconds since the epoch."""
    seconds: float
    exit_code: int | None
    detail: str


class Listener(io.TextIOBase):
    """Standard output of the framework: passes everything on, notes when phases begin, keeps the result."""

    def __init__(self, through: TextIO) -> None:
        self._through = through
        self._line = ""
        self.begun = [(INTERPRET, time.time(), time.monotonic())]
        """Phases so far: name, and when each began by both clocks."""
        self.result = ""
        """What was printed since the last line that is an opening brace alone, which is how the result begins."""

    def write(self, text: str) -> int:
        """Take what a `print` gives, in whatever pieces."""
        self._through.write(text)
        *lines, self._line = f"{self._line}{text}".split("\n")
        for line in lines:
            self._hear(line)
        return len(text)

    def flush(self) -> None:
        """Bring everything out."""
        self._through.flush()

    def _hear(self, line: str) -> None:
        if line == "{":
            self.result = ""
        self.result += f"{line}\n"
        if (task := TASK.search(line)) is not None:
            name = re.sub(r"[^a-z0-9]+", "-", task[1].lower()).strip("-")
            self.begun.append((name, time.time(), time.monotonic()))
            write_result(f"{name} has not ended", self.phases(None))

    def phases(self, exit_code: int | None) -> list[Phase]:
        """Return the phases so far, each of which ended where the next one began.

        Args:
            exit_code: how the last one ended; None if it has not.
        """
        found = []
        ends = [begun for _, _, begun in self.begun[1:]] + [time.monotonic()]
        for index, ((name, started_at, begun), end) in enumerate(zip(self.begun, ends, strict=True)):
            last = index == len(self.begun) - 1
            detail = "until the process ended" if last else f"until {self.begun[index + 1][0]} began"
            code = exit_code if last else 0
            seconds = round(end - begun, 6)
            found.append(Phase(name=name, started_at=started_at, seconds=seconds, exit_code=code, detail=detail))
        return found


def main() -> int:
    """Hand the prompt to the framework in the run's state; return the step's exit code."""
    request = PROMPT.read_text(encoding="utf-8").strip()
    os.environ["OPENAI_MODEL"] = os.environ["RUNNER_MODEL"]
    HOME.mkdir(parents=True, exist_ok=True)
    os.chdir(HOME)
    listener = Listener(sys.stdout)
    write_result(f"{INTERPRET} has not ended", listener.phases(None))
    sys.stdout, before = listener, sys.stdout
    code = 1
    try:
        code = run(request)
    finally:
        sys.stdout = before
        message = message_of(listener.result, code)
        write_result(message, listener.phases(code))
    if code:
        print(f"adapter: {message}", file=sys.stderr)
    return code


def run(request: str) -> int:
    """Run the framework's program on one request; return the exit code that it ends with."""
    store = os.environ["BAE_CONTEXT_STORE_PATH"]
    sys.argv = [str(PROGRAM), "--request", request, "--context-store", store, "--output-json", "--quiet"]
    try:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def message_of(printed: str, code: int) -> str:
    """Say in a sentence how a request ended, in the framework's own words where there are any.

    Args:
        printed: the JSON object that the framework prints in the end, if it came to that.
        code: its exit code.
    """
    try:
        answer = json.loads(printed)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return f"the framework ended with exit code {code} and printed no result"
    result = answer.get("result")
    told: dict[str, Any] = result if isinstance(result, dict) else answer
    details = told.get("details")
    more = details if isinstance(details, dict) else {}
    words = [told.get("error"), told.get("message"), *(more.get(key) for key in ("last_error", "error", "reasoning"))]
    return ": ".join(str(word) for word in words if word) or f"the framework ended with exit code {code}"


def write_result(message: str, phases: list[Phase]) -> None:
    """Write result.json anew, so that a step that is killed leaves what it had reported."""
    content = {"version": 1, "message": message, "phases": [asdict(phase) for phase in phases]}
    draft = OUT / "result.json.tmp"
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(OUT / "result.json")


if __name__ == "__main__":
    sys.exit(main())
