"""Perform one step with Spec Kit: its commands in order, each carried out by mini-swe-agent.

`specify init` puts Spec Kit's scripts, templates and commands into the workspace on the run's first step. A command is
a Markdown file that a coding agent gets as its task, with `$ARGUMENTS` replaced by what the user typed after the
command's name (Spec Kit's "generic" integration). Every command of a step gets the step's prompt, as in Spec Kit's own
bundled workflow. A later step is the next feature on the same workspace.

Questions that the specification leaves open are answered from the scenario's prepared answers, by `speckit.clarify`.
After the implementation the workspace's own tests are run, and what fails is given to the agent to repair.

Steps may work beside each other on copies of one workspace, which are merged afterwards. So what `specify init` writes
is made the same in every copy, and Spec Kit's pointer to the feature at hand does not outlive its step.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fixing
import questions
from mini_agent import Phase, run_agent, write_result

STEP = Path("/in/step.json")
PROMPT = Path("/in/prompt.txt")
OUT = Path("/out")
ANSWERS = Path("/in/answers.json")
"""The scenario's prepared answers; not there if it has none."""
PROJECT = Path(".specify")
COMMANDS = PROJECT / "commands"
POINTER = PROJECT / "feature.json"
"""Names the feature at hand; Spec Kit's own `.specify/.gitignore` calls it per-checkout state, not to be shared."""
REGISTERS = ("integrations/*.manifest.json", "workflows/workflow-registry.json")
"""Where Spec Kit enters what it has installed, and when."""
TIMES = {"installed_at", "updated_at"}
NO_TIME = "1970-01-01T00:00:00+00:00"
PHASES = ("specify", "plan", "tasks", "implement")
ROUNDS = 3
"""How often open questions are answered, and failing tests are given back, at most."""
LAST_LOOK = f"fix-{ROUNDS + 1}"
"""The phase that only finds out whether the last repair helped."""
INIT = (
    *("specify", "init", "--here", "--force", "--non-interactive", "--ignore-agent-tools", "--script", "sh"),
    *("--integration", "generic", f"--integration-options=--commands-dir {COMMANDS}/"),
)
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
UNATTENDED = """
## Working alone

Carry out the command above and nothing else; the other commands of the workflow are carried out by others.
The project is in the current directory. Nobody can answer a question: where the command tells you to ask the user or to
wait, decide yourself as a careful engineer would, and write the decision down where it belongs.
"""
ASKING = """
## Asking

The command above is an exception: questions are answered after it. Leave each as a marker of the kind that the command
describes, [NEEDS CLARIFICATION: question], within its limit; do not ask the user, and do not wait.
"""


def main() -> int:
    """Carry out one step without the pointer of another, and leave none behind; return the step's exit code."""
    POINTER.unlink(missing_ok=True)
    try:
        return carry_out_all()
    finally:
        POINTER.unlink(missing_ok=True)


def carry_out_all() -> int:
    """Carry out the phases until one fails; return the step's exit code."""
    step = json.loads(STEP.read_text(encoding="utf-8"))
    prompt = PROMPT.read_text(encoding="utf-8")
    phases: list[Phase] = []
    for phase in in_order(prompt, step["seed"], phases):
        phases.append(phase)
        # Tests that still fail then are in the record and fail no step: what was made is judged by others.
        if phase.exit_code and phase.name != LAST_LOOK:
            return report(phases, f"phase {phase.name} failed: {phase.detail}", phase.exit_code)
    return report(phases, "every phase has ended well", 0)


def in_order(prompt: str, seed: int, done: list[Phase]) -> Iterator[Phase]:
    """Carry out one phase after the other, and yield each when it has ended; `done` are those so far."""
    if not COMMANDS.is_dir():
        begin("init", done)
        yield set_up()
    for name in PHASES:
        begin(name, done)
        yield carry_out(name, prompt, seed)
        if name == "specify" and ANSWERS.is_file():
            yield from clarify(seed, done)
    yield from fix(seed, done)


def begin(name: str, done: list[Phase]) -> None:
    """Say which phase begins, where it is read when the step is killed, too."""
    write_result(OUT / "result.json", f"phase {name} has not ended", done)
    print(f"adapter: phase {name}", flush=True)


def clarify(seed: int, done: list[Phase]) -> Iterator[Phase]:
    """Have the answers to open questions written into the specification, until none is open or none has an answer."""
    for number in range(1, ROUNDS + 1):
        open_ones = questions.find(Path(), POINTER)
        answers = questions.answered(open_ones) if open_ones else None
        if answers is None:
            return
        name = numbered("clarify", number)
        begin(name, done)
        yield carry_out(name, answers, seed, command="clarify")


def fix(seed: int, done: list[Phase]) -> Iterator[Phase]:
    """Run the workspace's tests and have the agent repair what fails, until they pass or it was tried often enough."""
    for number in range(1, ROUNDS + 2):
        name = numbered("fix", number)
        begin(name, done)
        started_at, started = time.time(), time.monotonic()
        code, output = fixing.run_tests(OUT / "phases" / f"{name}.tests.txt")
        if code == 0 or number > ROUNDS:
            detail = fixing.last_line(output)
            seconds = round(time.monotonic() - started, 3)
            yield Phase(name=name, seconds=seconds, exit_code=code, detail=detail, started_at=started_at)
            return
        phase = run_agent(name, fixing.task(output), seed=seed, folder=OUT / "phases")
        yield replace(phase, seconds=round(time.monotonic() - started, 3), started_at=started_at)


def numbered(name: str, number: int) -> str:
    """Return a phase's name: the first has no number."""
    return name if number == 1 else f"{name}-{number}"


def report(phases: list[Phase], message: str, code: int) -> int:
    """Write the final result.json, say why the step fails if it does, and pass the exit code on."""
    write_result(OUT / "result.json", message, phases)
    if code:
        print(f"adapter: {message}", file=sys.stderr)
    return code


def set_up() -> Phase:
    """Put Spec Kit's files into the workspace, from the package alone."""
    started_at, started = time.time(), time.monotonic()
    code = subprocess.run(INIT, stdin=subprocess.DEVNULL, check=False).returncode
    if code == 0:
        make_repeatable()
    seconds = round(time.monotonic() - started, 3)
    return Phase(name="init", seconds=seconds, exit_code=code, detail="specify init", started_at=started_at)


def make_repeatable() -> None:
    """Take out of Spec Kit's registers what differs between two equal installations.

    That is the time of day, and the order of the keys, which is partly that of a directory's entries on the disk. When
    it was installed is told by the phase; Spec Kit itself shows these times to people and decides nothing by them.
    """
    for file in (file for pattern in REGISTERS for file in PROJECT.glob(pattern)):
        content = json.loads(file.read_text(encoding="utf-8"), object_hook=without_times)
        file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def without_times(entry: dict[str, object]) -> dict[str, object]:
    """Return an entry of a register with the epoch in place of its times."""
    return {key: NO_TIME if key in TIMES else value for key, value in entry.items()}


def carry_out(name: str, prompt: str, seed: int, command: str = "") -> Phase:
    """Give the agent one of the commands that Spec Kit installed in the workspace, by default that of the phase's name."""
    file = COMMANDS / f"speckit.{command or name}.md"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        return Phase(name=name, seconds=None, exit_code=1, detail=f"no command {file}: {error.strerror}")
    asking = ASKING if name == "specify" and ANSWERS.is_file() else ""
    return run_agent(name, as_task(text, prompt) + asking, seed=seed, folder=OUT / "phases")


def as_task(command: str, prompt: str) -> str:
    """Fill a command's text in for the agent: without its front matter, which is for the host's menus."""
    return FRONT_MATTER.sub("", command, count=1).replace("$ARGUMENTS", prompt.strip()) + UNATTENDED


if __name__ == "__main__":
    sys.exit(main())
