"""Find the questions that a specification leaves open, and answer them from the scenario's prepared answers.

Spec Kit's `speckit.specify` marks what it cannot decide as `[NEEDS CLARIFICATION: question]`, at most three times, and
has the user asked. `runner-ask` gives the scenario's answer and notes question and digest in the step's record.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

MARKER = re.compile(r"\[NEEDS CLARIFICATION:\s*([^\]]+?)\s*\]")
ASK = "runner-ask"
UNANSWERED = "(Nobody has an answer; decide yourself as a careful engineer would.)"


def find(project: Path, pointer: Path) -> list[str]:
    """Return the open questions of the feature at hand, each once, in order.

    Args:
        project: the folder that Spec Kit works in.
        pointer: file that names the feature's folder; without it the newest by its number is taken.
    """
    try:
        folder = project / json.loads(pointer.read_text(encoding="utf-8"))["feature_directory"]
    except (OSError, ValueError, KeyError, TypeError):
        folder = max(project.glob("specs/[0-9]*"), default=project)
    try:
        text = (folder / "spec.md").read_text(encoding="utf-8")
    except OSError:
        return []
    return list(dict.fromkeys(" ".join(question.split()) for question in MARKER.findall(text)))


def answer(question: str) -> str | None:
    """Return the scenario's answer to a question; None if it has none."""
    done = subprocess.run([ASK, "--", question], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def answered(questions: list[str]) -> str | None:
    """Return questions with their answers, as a user would write them; None if not one has an answer."""
    answers = {question: answer(question) for question in questions}
    if not any(answers.values()):
        return None
    lines = [f"Q: {question}\nA: {words or UNANSWERED}\n" for question, words in answers.items()]
    return "These questions were asked and answered. Write the answers in; ask no others.\n\n" + "\n".join(lines)
