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
    from pathlib import Path

    from runner.ledger.rows import LedgerRow

EXAMPLES = """
runner runs
runner runs --framework ghspec --outcome failed,broken
runner runs --waiting               what waits for approval, and how to decide
runner runs --experiment default --json     if no run fits, [] and exit code 3
runner runs --limit 1000            the thousand that began last; otherwise 200
runner runs --experiment seeds --steps     tokens, time, memory, cost and CRUD effectiveness of every step
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
        help="only this outcome: passed, failed, timed_out, exceeded, broken, cancelled, skipped; several with commas",
    )
    parser.add_argument("--waiting", action="store_true", help="only runs that wait for approval")
    parser.add_argument("--steps", action="store_true", help="a row per step of each run, with its own numbers")
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--limit", type=positive, metavar="N", help=f"the N runs that began last; by default {_SHOWN}, with --json all"
    )
    many.add_argument("--all", action="store_true", help="every run")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """List what the ledger knows; without a ledger there are no runs, and filters that none fits have a code of their own."""
    from runner.cli.narrowing import require_fit, require_folder
    from runner.ledger.store import ledger_path, open_ledger
    from runner.report.ledger_tables import row_values, runs_table

    path = ledger_path(output_folder(args))
    require_folder(path.parent, args.output)
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
    if args.steps and rows:
        _show_steps(args, console, path.parent, rows)
    elif args.json:
        console.json([row_values(row) for row in rows])
    elif rows:
        console.table(runs_table(rows, counts, _checks(path.parent, rows)))
    if not rows:
        require_fit(path.parent, filters, "runner runs --help")
        if not args.json:
            console.say(f"no runs in {path.parent}")
    return ExitCode.PASSED


def _checks(output: Path, rows: list[LedgerRow]) -> dict[str, str]:
    """Return what the checks of runs came to in a few words, by run directory."""
    from runner.evidence.layout import RunLayout
    from runner.evidence.verdicts import read_verdicts
    from runner.report.check_tables import checks_words

    found = {row.directory: checks_words(read_verdicts(RunLayout(output / row.directory).checks)) for row in rows}
    return {directory: words for directory, words in found.items() if words}


def _show_steps(args: Namespace, console: Console, output: Path, rows: list[LedgerRow]) -> None:
    """List the steps of runs, as far as each has numbers, with what checks said of them last."""
    from runner.cli.finding import read_metrics
    from runner.evidence.judged import whole_verdicts
    from runner.evidence.layout import RunLayout
    from runner.evidence.measures.again import judged_again
    from runner.report.step_lists import RunSteps, steps_table, steps_values

    runs = []
    for row in rows:
        layout = RunLayout(output / row.directory)
        metrics = judged_again(read_metrics(layout.metrics), whole_verdicts(layout))
        own = RunSteps(
            run_id=row.run_id,
            framework=row.framework,
            model_label=row.model_label,
            per_step=metrics.get("per_step") or (),
        )
        runs.append(own)
    if args.json:
        console.json(steps_values(runs))
    else:
        console.table(steps_table(runs))
