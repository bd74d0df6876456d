"""The exit code of an experiment, from the outcomes of its runs."""

from __future__ import annotations

from collections.abc import Iterable

from runner.errors import ExitCode

WAITING = "waiting"
"""Stands for the outcome of a run that waits for a person."""
_CODES = {
    "passed": ExitCode.PASSED,
    "failed": ExitCode.FAILED,
    "timed_out": ExitCode.FAILED,
    "exceeded": ExitCode.FAILED,
    "skipped": ExitCode.FAILED,
    "broken": ExitCode.BROKEN,
    "cancelled": ExitCode.INTERRUPTED,
    WAITING: ExitCode.WAITING,
    None: ExitCode.INTERRUPTED,
}
_RANK = (ExitCode.PASSED, ExitCode.FAILED, ExitCode.BROKEN, ExitCode.WAITING, ExitCode.INTERRUPTED)


def exit_code(outcomes: Iterable[str | None]) -> ExitCode:
    """Return the exit code of `runner go`: interrupted outranks waiting, then come broken, failed and passed.

    An experiment that is not over says so first, because going on with it may change everything else; something broken
    outranks a failure, because results next to it may be missing for our own fault.

    Args:
        outcomes: one per selected run, those done earlier included; None is a run without a final record, WAITING one
            that waits for a person.
    """
    codes = {_CODES[outcome] for outcome in outcomes}
    return max(codes, key=_RANK.index, default=ExitCode.PASSED)
