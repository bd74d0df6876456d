"""Show one run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

EXAMPLES = """
runner show crud-r1-0123456789
runner show crud-r1             as long as only one run begins so
runner show ghspec/crud-r1      of one framework
runner show crud-r1 --json      the record and the metrics
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run, and how to show it."""
    parser.add_argument("run", metavar="RUN", help="id of a run, FRAMEWORK/ID, or the beginning of either")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Print the record of a run with its numbers."""
    from runner.cli.finding import find_run, read_metrics, read_record
    from runner.evidence.judged import whole_verdicts

    place = find_run(output_folder(args), args.run)
    record, metrics = read_record(place), read_metrics(place.layout.metrics)
    verdicts = whole_verdicts(place.layout)
    if args.json:
        console.json(
            {
                "directory": str(place.layout.root),
                "record": record.model_dump(mode="json"),
                "metrics": metrics or None,
                "checks": [one.model_dump(mode="json") for one in verdicts],
            }
        )
        return ExitCode.PASSED
    from runner.report.run_page import run_page

    for block in run_page(record, metrics, str(place.layout.root), verdicts):
        console.block(block)
    return ExitCode.PASSED
