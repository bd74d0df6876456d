"""The exit code of an experiment."""

from __future__ import annotations

from typing import get_args

import pytest

from runner.errors import ExitCode
from runner.evidence.records import Outcome
from runner.report.exit_code import WAITING, exit_code


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], ExitCode.PASSED),
        (["passed", "passed"], ExitCode.PASSED),
        (["passed", "failed"], ExitCode.FAILED),
        (["timed_out"], ExitCode.FAILED),
        (["exceeded"], ExitCode.FAILED),
        (["failed", "broken", "passed"], ExitCode.BROKEN),
        (["broken", "cancelled", "failed"], ExitCode.INTERRUPTED),
        (["passed", None], ExitCode.INTERRUPTED),
        (["passed", WAITING], ExitCode.WAITING),
        (["broken", WAITING, "failed"], ExitCode.WAITING),
        ([WAITING, "cancelled"], ExitCode.INTERRUPTED),
    ],
)
def test_the_worst_news_wins(outcomes: list[str | None], code: ExitCode) -> None:
    """Interrupted outranks waiting, which outranks broken, which outranks failed, which outranks passed."""
    assert exit_code(outcomes) is code


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_every_outcome_has_a_code(outcome: str) -> None:
    """No outcome but passed ends in exit code 0."""
    assert (exit_code([outcome]) is ExitCode.PASSED) == (outcome == "passed")
