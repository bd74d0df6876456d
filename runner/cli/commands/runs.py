"""List runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.selection import names
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

EXAMPLES = """
runner runs
runner runs --framework ghspec --outcome failed,broken
runner runs --waiting               what waits for approval, and how to decide
runner runs --experiment default --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the filters; a filter may be repeated, or hold several names with commas between."""
    for name in ("framework", "scenario", "experiment"):
        parser.add_argument(f"--{name}", action="append", metavar="NAME", help=f"only runs of this {name}")
    parser.add_argument(
        "--outcome",
        action="append",
        metavar="OUTCOME",
        help="only this outcome: passed, failed, timed_out, exceeded, broken, cancelled",
    )
    parser.add_argument("--waiting", action="store_true", help="only runs that wait for approval")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """List what the ledger knows; an output folder without a ledger has no runs."""
    from runner.ledger.store import ledger_path, open_ledger
    from runner.report.ledger_tables import row_values, runs_table

    path = ledger_path(output_folder(args))
    outcomes = _outcomes(args.outcome)
    rows = []
    if path.is_file():
        with open_ledger(path) as ledger:
            rows = ledger.rows(
                experiments=names(args.experiment),
                frameworks=names(args.framework),
                scenarios=names(args.scenario),
                outcomes=outcomes,
                states=("suspended",) if args.waiting else (),
            )
    if args.json:
        console.json([row_values(row) for row in rows])
    elif rows:
        console.table(runs_table(rows))
    else:
        console.say(f"no runs in {path.parent}")
    return ExitCode.PASSED


def _outcomes(given: list[str] | None) -> tuple[str, ...]:
    """Return the outcomes asked for, refusing names that no run can have."""
    from typing import get_args

    from runner.cli.parser import unknown
    from runner.evidence.records import Outcome

    known = get_args(Outcome)
    wanted = names(given)
    for one in wanted:
        if one not in known:
            raise unknown("outcome", one, known, "runner runs --help")
    return wanted
