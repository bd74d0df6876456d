"""Perform one step with aider: the step's prompt is one message to it, and every question of it is answered yes.

Aider's command line ends with 0 whatever happened. So it is started by its own `main`, as its command line does, and
asked to hand out the conversation before the message is sent; afterwards that says how it went.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

STEP = Path("/in/step.json")
PROMPT = Path("/in/prompt.txt")
OUT = Path("/out")
SCRATCH = Path("/tmp/aider")  # noqa: S108  in the container, whose /tmp is the step's own
RUN_TESTS = Path(__file__).with_name("run_tests.py")
POINTER = Path(".git")
CACHES = ".aider.tags.cache.v*"
"""What aider's map of the repository keeps in the working directory."""
GIT = ("git", "-c", "user.name=runner", "-c", "user.email=runner@localhost", "-c", "gc.auto=0")
DETAIL_LIMIT = 500
"""Characters of aider's last words that the phase keeps; the chat history has all of them."""
UNATTENDED = (
    *("--yes-always", "--no-pretty", "--no-fancy-input", "--no-stream", "--no-suggest-shell-commands"),
    *("--no-check-update", "--no-show-release-notes", "--no-show-model-warnings", "--no-detect-urls"),
    *("--analytics-disable", "--disable-playwright", "--no-gitignore"),
    *("--no-auto-commits", "--no-dirty-commits"),
    # A conversation of one message needs no summary for the next one; writing it would cost calls of the model.
    *("--max-chat-history-tokens", "10000000"),
)


class Conversation(Protocol):
    """What the adapter asks of aider's `Coder`."""

    partial_response_content: str
    """The last answer; empty if the call of the model failed."""
    reflected_message: str | None
    """What aider would have sent next, had it not given up."""
    num_exhausted_context_windows: int

    def run(self, with_message: str, *, preproc: bool) -> str | None: ...


def main() -> int:
    """Send /in/prompt.txt to aider in the working directory; return the step's exit code."""
    step = json.loads(STEP.read_text(encoding="utf-8"))
    prompt = PROMPT.read_text(encoding="utf-8")
    write_result("aider has not ended", [])
    started_at, started = time.time(), time.monotonic()
    with repository():
        finished, detail = converse(prompt, step["seed"])
    phase = {
        "name": "agent",
        "started_at": started_at,
        "seconds": round(time.monotonic() - started, 3),
        "exit_code": 0 if finished else 1,
        "detail": detail,
    }
    write_result(f"aider ended: {detail}", [phase])
    if not finished:
        print(f"adapter: aider did not finish: {detail}", file=sys.stderr)
    return 0 if finished else 1


@contextmanager
def repository() -> Iterator[None]:
    """Make the workspace a git repository for the time of the step, as aider finds files by what git knows.

    The repository itself lies outside the workspace, and nothing of it is left there: what aider made is the product.
    A workspace that has a repository of its own keeps it, and aider works in that.
    """
    if POINTER.exists():
        yield
        return
    SCRATCH.mkdir(parents=True, exist_ok=True)
    git("init", "--quiet", "--initial-branch", "step", "--separate-git-dir", str(SCRATCH / "repository"), ".")
    try:
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", "Before the step")
        yield
    finally:
        POINTER.unlink(missing_ok=True)
        for folder in Path().glob(CACHES):
            shutil.rmtree(folder, ignore_errors=True)


def git(*arguments: str) -> None:
    """Run git in the working directory."""
    subprocess.run([*GIT, *arguments], check=True, stdin=subprocess.DEVNULL)


def converse(prompt: str, seed: int) -> tuple[bool, str]:
    """Send one message and let aider go on until it has nothing to add; return whether it finished, and how."""
    from aider.main import main as start

    conversation = start(options(seed), return_coder=True)
    if not hasattr(conversation, "run"):
        return False, "aider did not start; its standard output says why"
    # A message that begins like one of aider's own commands is no command.
    conversation.run(with_message=prompt, preproc=not prompt.lstrip().startswith(("/", "!")))
    return ending(conversation)


def options(seed: int) -> list[str]:
    """Return aider's arguments; its histories go to /out, not into the workspace."""
    kept = OUT / "phases"
    kept.mkdir(parents=True, exist_ok=True)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    settings = SCRATCH / "model.yml"
    # JSON is YAML. The name stands for every model; the client underneath tries a failed call again.
    settings.write_text(json.dumps([{"name": "aider/extra_params", "extra_params": {"seed": seed, "max_retries": 3}}]))
    # The prefix makes litellm speak the OpenAI protocol whatever the model is called.
    model = f"openai/{os.environ['RUNNER_MODEL']}"
    return [
        *UNATTENDED,
        *("--model", model, "--weak-model", model, "--editor-model", model),
        *("--model-settings-file", str(settings)),
        *("--chat-history-file", str(kept / "agent.chat.md")),
        *("--input-history-file", str(SCRATCH / "input.history")),
        *("--auto-test", "--test-cmd", f"{sys.executable} {RUN_TESTS}"),
    ]


def ending(conversation: Conversation) -> tuple[bool, str]:
    """Say whether a conversation came to its end, and the first line of its last answer or what kept it."""
    if conversation.num_exhausted_context_windows:
        return False, "an answer or a question did not fit into the model's context window"
    if conversation.reflected_message:
        return False, f"aider gave up; left to be done: {shortened(conversation.reflected_message)}"
    if not conversation.partial_response_content:
        return False, "the last call of the model failed or had no answer; aider's standard output says why"
    # An answer goes on with the files themselves.
    return True, shortened(conversation.partial_response_content.strip().partition("\n")[0])


def shortened(text: str) -> str:
    """Return a text on one line, cut to what a phase keeps."""
    return " ".join(text.split())[:DETAIL_LIMIT]


def write_result(message: str, phases: list[dict[str, object]]) -> None:
    """Write result.json anew, so that a step that is killed leaves what it had reported."""
    path = OUT / "result.json"
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps({"version": 1, "message": message, "phases": phases}, indent=2) + "\n", "utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
