"""List runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.selection import names, outcomes, positive
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.ledger.rows import LedgerRow

EXAMPLES = """
runner runs
runner runs --framework ghspec --outcome failed,broken
runner runs --waiting               what waits for approval, and how to decide
runner runs --experiment default --json
runner runs --limit 1000            the thousand that began last; otherwise 200
"""

_SHOWN = 200
"""Runs of a list for a person, if nobody says otherwise."""


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
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--limit", type=positive, metavar="N", help=f"the N runs that began last; by default {_SHOWN}, with --json all"
    )
    many.add_argument("--all", action="store_true", help="every run")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """List what the ledger knows; an output folder without a ledger has no runs."""
    from runner.ledger.store import ledger_path, open_ledger
    from runner.report.ledger_tables import row_values, runs_table

    path = ledger_path(output_folder(args))
    filters = {
        "experiments": names(args.experiment),
        "frameworks": names(args.framework),
        "scenarios": names(args.scenario),
        "outcomes": outcomes(args.outcome, "runner runs --help"),
        "states": ("suspended",) if args.waiting else (),
    }
    limit = args.limit or (None if args.all or args.json else _SHOWN)
    rows: list[LedgerRow] = []
    counts: Mapping[str, int] = {}
    if path.is_file():
        with open_ledger(path) as ledger:
            rows = ledger.rows(**filters, newest=limit)
            counts = ledger.counts(**filters)
    if args.json:
        console.json([row_values(row) for row in rows])
    elif rows:
        console.table(runs_table(rows, counts))
    else:
        console.say(f"no runs in {path.parent}")
    return ExitCode.PASSED
