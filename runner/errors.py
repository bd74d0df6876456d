"""Errors, split by whose fault they are, each with the exit code a shell script sees.

A message has three parts: what happened (with the value and where), why we think so, and what to type next.
A framework that fails is an outcome, not an exception: nothing here describes one.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of the `runner` command, one meaning each."""

    PASSED = 0
    """All selected runs passed, or there was nothing left to do."""
    FAILED = 1
    """Some run failed, timed out or exceeded a budget: the framework's doing."""
    CONFIG = 2
    """Bad configuration or bad command line; nothing was started."""
    NOTHING_SELECTED = 3
    """The filters select no run."""
    ENGINE = 4
    """No usable container engine."""
    IMAGE = 5
    """An image could not be locked, fetched, built or smoke tested."""
    STORAGE = 6
    """The ledger or the disk cannot be used."""
    BROKEN = 7
    """Some run broke: our doing or the machine's."""
    WAITING = 8
    """Some run waits for a person's decision: `runner approve` or `runner reject`, then `runner go` continues."""
    INTERRUPTED = 130
    """Stopped by the user; `runner go` continues."""


class RunnerError(Exception):
    """Base of every error that ends a command; only `cli` turns it into text.

    Args:
        what: what happened, with the offending value.
        where: `file:line` of the cause, if a file is at fault.
        why: why we think so, evidence first.
        hint: what to type next.
    """

    exit_code: ExitCode = ExitCode.BROKEN

    def __init__(self, what: str, *, where: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return "\n".join(part for part in (head, self.why, self.hint) if part)


def one_line(error: Exception) -> str:
    """Return all that an error says as one line: what a record or a log takes."""
    return "; ".join(filter(None, map(str.strip, str(error).splitlines())))


class ConfigError(RunnerError):
    """What the user wrote cannot be used."""

    exit_code = ExitCode.CONFIG


class NothingSelected(RunnerError):
    """The filters leave no run."""

    exit_code = ExitCode.NOTHING_SELECTED


class EngineError(RunnerError):
    """The container engine is absent, too old, or refused a call for good."""

    exit_code = ExitCode.ENGINE


class ImageError(RunnerError):
    """An image stage failed."""

    exit_code = ExitCode.IMAGE


class StorageError(RunnerError):
    """The ledger, a cache or a run directory cannot be read or written."""

    exit_code = ExitCode.STORAGE
