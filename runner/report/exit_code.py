"""The exit code of an experiment, from the outcomes of its runs."""

from __future__ import annotations

from collections.abc import Iterable

from runner.errors import ExitCode

_CODES = {
    "passed": ExitCode.PASSED,
    "failed": ExitCode.FAILED,
    "timed_out": ExitCode.FAILED,
    "exceeded": ExitCode.FAILED,
    "skipped": ExitCode.FAILED,
    "broken": ExitCode.BROKEN,
    "cancelled": ExitCode.INTERRUPTED,
    None: ExitCode.INTERRUPTED,
}
_RANK = (ExitCode.PASSED, ExitCode.FAILED, ExitCode.BROKEN, ExitCode.INTERRUPTED)


def exit_code(outcomes: Iterable[str | None]) -> ExitCode:
    """Return the exit code of `runner go`: interrupted outranks broken, broken outranks failed, failed outranks passed.

    An interrupted experiment says so first, because running it again may change everything else; something broken
    outranks a failure, because results next to it may be missing for our own fault.

    Args:
        outcomes: one per selected run, those done earlier included; None is a run without a final record.
    """
    codes = {_CODES[outcome] for outcome in outcomes}
    return max(codes, key=_RANK.index, default=ExitCode.PASSED)
