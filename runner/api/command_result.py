"""What is known of a command that was run in a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.errors import ExitCode, RunnerError

_TAIL = 2000
"""Bytes of stderr in the text of an error."""


class CommandFailed(RunnerError):
    """A command did not exit with 0, and the caller asked for an exception in that case."""

    exit_code = ExitCode.FAILED

    def __init__(self, result: CommandResult) -> None:
        what = result.error or ("it did not end in time" if result.timed_out else f"exit code {result.exit_code}")
        tail = result.stderr[-_TAIL:].decode("utf-8", "replace").strip()
        super().__init__(f"{result.argv[0]}: {what}", why=tail)
        self.result = result


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """All that is known of a command that was run in a container."""

    argv: tuple[str, ...]
    cwd: str
    image_id: str
    """Digest of the image's config; empty if there was no such image."""
    stdout: bytes
    stderr: bytes
    dropped_stdout: int
    """Bytes beyond limits.log that were not kept."""
    dropped_stderr: int
    exit_code: int | None
    """124 after a deadline; None if the command never ran."""
    signal: int | None
    """Signal that ended it; None if none did, or the image has no shim to tell."""
    timed_out: bool
    oom_killed: bool
    seconds: float | None
    """Wall time; None if it never ran."""
    cpu_seconds: float | None
    peak_memory_bytes: int | None
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a measurement is None, by its name."""
    error: str = ""
    """Why it could not be run, or its container not be dealt with; empty if all went well."""
    notes: tuple[str, ...] = ()
    """What could not be removed."""

    @property
    def ok(self) -> bool:
        """Whether it ran and exited with 0."""
        return self.exit_code == 0 and not self.error
