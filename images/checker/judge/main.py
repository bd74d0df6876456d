"""The program: read a check, judge, write the verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from judge import application, imports, own_tests, static
from judge.asked import Check, Unreadable, read
from judge.clock import Clock, OutOfTime
from judge.job import Job
from judge.report import Report, write
from judge.versions import versions

_KINDS: Mapping[str, Callable[[Job], None]] = {
    "application": application.judge,
    "imports": imports.judge,
    "tests": own_tests.judge,
    "static": static.judge,
}


def main(arguments: Sequence[str], workspace: Path) -> int:
    """Judge the workspace as a check says.

    Args:
        arguments: the check's file, and the file to write.
        workspace: folder to judge; it is written to.

    Returns:
        0 if there is a verdict, whatever it says; 2 if the check cannot be read.
    """
    if len(arguments) != 2:  # noqa: PLR2004  # as the usage line says
        print("usage: check.py IN OUT", file=sys.stderr)
        return 2
    try:
        check = read(Path(arguments[0]))
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    if check.kind not in _KINDS:
        print(f"kind {check.kind} is unknown; known: {', '.join(_KINDS)}", file=sys.stderr)
        return 2
    report = run(check, workspace, dict(os.environ))
    write(Path(arguments[1]), report.content(versions()))
    return 0


def run(check: Check, workspace: Path, environment: Mapping[str, str]) -> Report:
    """Judge, and give everything that was not reached a reason."""
    report, clock = Report(), Clock(check.timeout)
    try:
        _KINDS[check.kind](Job(check=check, workspace=workspace, environment=environment, report=report, clock=clock))
    except OutOfTime as error:
        report.find("judge", "time", f"{error}: {check.timeout:.0f} s")
        report.close(str(error))
    report.close("it was not reached")
    return report
