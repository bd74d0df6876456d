"""Run the workspace's own tests after the implementation, and word the task of repairing what fails.

Spec Kit has no command for this among its four; its extension for bugs starts from a report that a person writes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN_TESTS = Path(__file__).with_name("run_tests.py")
SHOWN = 8000
"""Characters of the tests' output, its end, that the agent gets."""
TASK = """The feature has been implemented, and the project's own tests fail. Find out why and repair it.

Repair the code; change a test only where it contradicts the specification. Build nothing new. The project is in the
current directory, the specification in {folder}. Nobody can answer a question.
You have finished when `python3 -m pytest` passes. The end of what the tests printed:

{output}
"""


def run_tests(log: Path) -> tuple[int, str]:
    """Run the tests; return their exit code, 0 also if there are none, and what they printed.

    Args:
        log: file that keeps the output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        command = [sys.executable, str(RUN_TESTS)]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False).returncode
    return code, log.read_text(encoding="utf-8", errors="replace")


def task(output: str, folder: str = "specs/") -> str:
    """Return what the agent is to do about tests that printed this."""
    return TASK.format(folder=folder, output=output.strip()[-SHOWN:])


def last_line(output: str) -> str:
    """Return the last line of an output, where pytest says what it came to."""
    return next((line.strip(" =") for line in reversed(output.splitlines()) if line.strip()), "there are no tests")
