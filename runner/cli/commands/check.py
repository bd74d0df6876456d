"""Judge a run again, or any folder."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.evidence.verdicts import CheckVerdict

EXAMPLES = """
runner check crud-r1-0123456789                 a run, by the checks that its scenario has now
runner check crud-r1 --check api                one of them
runner check ../their-service --scenario crud   a folder that came from elsewhere
runner check crud-r1 --json > verdicts.json     each assertion with its evidence
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what is judged, and by what."""
    parser.add_argument("what", metavar="RUN|DIR", help="id of a run or its beginning, or any folder")
    parser.add_argument("--scenario", metavar="NAME", help="whose checks; by default those of the run's own scenario")
    parser.add_argument("--check", action="append", metavar="ID", help="only this check; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Judge, tell the verdicts, and say where they are."""
    from runner.cli.judging import judge
    from runner.errors import ExitCode
    from runner.report.check_tables import checks_table, checks_words, not_passed

    found = judge(args, console)
    code = ExitCode.INTERRUPTED if found.cancelled else _code(found.verdicts)
    if args.json:
        console.json(
            {
                "subject": found.subject,
                "kept": str(found.kept) if found.kept is not None else None,
                "exit_code": int(code),
                "checks": [one.model_dump(mode="json") for one in found.verdicts],
            }
        )
        return code
    console.table(checks_table(found.verdicts))
    for line in not_passed(found.verdicts):
        console.result(f"  {line}")
    console.result(f"{found.subject}: checks: {checks_words(found.verdicts)}")
    if found.cancelled:
        console.say(
            "stopped before everything was judged; what had been judged before stays, and the same command judges"
        )
    if found.kept is not None:
        console.say(f"verdicts in {found.kept}; older ones stay where they are")
    return code


def _code(verdicts: Sequence[CheckVerdict]) -> int:
    """Return 1 if an assertion failed, 7 if none did and something could not be judged, else 0."""
    from runner.errors import ExitCode

    if any(one.verdict == "failed" for one in verdicts):
        return ExitCode.FAILED
    return ExitCode.PASSED if all(one.verdict == "passed" for one in verdicts) else ExitCode.BROKEN
