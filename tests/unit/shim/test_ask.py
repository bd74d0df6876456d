"""What a framework that asks is told, and what is noted of it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes

ASK = Path(__file__).parents[3] / "images/base/rootfs/usr/local/bin/runner-ask"
PREPARED: list[dict[str, str | None]] = [
    {"question": "(?i)which .*framework", "answer": "FastAPI"},
    {"question": None, "answer": "Whatever is simplest.\nGrüße"},
]
Ask = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Return what runs the program on prepared answers, in the test's folder."""

    def run(
        *words: str, prepared: list[dict[str, str | None]] = PREPARED, given: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        answers = tmp_path / "answers.json"
        answers.write_text(json.dumps({"version": 1, "answers": prepared}))
        argv = [str(ASK), f"--answers={answers}", "--log", str(tmp_path / "log"), *words]
        return subprocess.run(argv, input=given, capture_output=True, check=False, timeout=100)

    return run


def _noted(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def test_the_first_answer_that_fits_is_printed(ask: Ask, tmp_path: Path) -> None:
    """Expressions are tried in order, anywhere in the question, and the use is noted with the answer's digest."""
    done = ask("Which", "web Framework", "shall I use?")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"FastAPI\n", b"")
    (noted,) = _noted(tmp_path)
    assert noted["question"] == "Which web Framework shall I use?"
    assert noted["answer_sha256"] == hashlib.sha256(b"FastAPI").hexdigest()


def test_a_question_can_come_on_the_standard_input(ask: Ask, tmp_path: Path) -> None:
    """Without words the question is read from the standard input; an answer without expression fits it."""
    done = ask(given="What about\nthe dätabase?\n".encode())
    assert (done.returncode, done.stdout.decode()) == (0, "Whatever is simplest.\nGrüße\n")
    assert _noted(tmp_path)[0]["question"] == "What about\nthe dätabase?"


def test_no_answer_is_an_exit_code_of_its_own(ask: Ask, tmp_path: Path) -> None:
    """A question that nothing fits ends with 4 and a line on stderr, and is noted without a digest."""
    done = ask("--", "--why not?", prepared=PREPARED[:1])
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"no prepared answer fits '--why not?'" in done.stderr
    assert _noted(tmp_path)[0]["answer_sha256"] is None


@pytest.mark.parametrize("words", [("--colour", "x"), (), ("--",)])
def test_a_wrong_call_is_told_from_no_answer(ask: Ask, tmp_path: Path, words: tuple[str, ...]) -> None:
    """An unknown option or an empty question ends with 2 and notes nothing."""
    assert ask(*words).returncode == 2
    assert not (tmp_path / "log").exists()


def test_a_log_that_cannot_be_written_costs_no_answer(ask: Ask, tmp_path: Path) -> None:
    """Where the use cannot be noted the answer is given all the same, with a line on stderr."""
    (tmp_path / "log").mkdir()
    done = ask("which framework")
    assert (done.returncode, done.stdout) == (0, b"FastAPI\n")
    assert b"could not be noted" in done.stderr
