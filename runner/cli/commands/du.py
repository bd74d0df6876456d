"""Say what uses the disk."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.selection import natural
from runner.cli.workplace import add_output_option, open_workplace, output_folder
from runner.errors import ExitCode

EXAMPLES = """
runner du                       runs by their parts, superseded runs, ledger, cache, images; the largest first
runner du --largest 20          and the twenty runs that take the most room
runner du --json
"""
_PARTS = 8
"""Parts of one thing that are shown to a person."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add how much to name."""
    parser.add_argument("--largest", type=natural, default=5, metavar="N", help="name the N largest runs; by default 5")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Measure and show; nothing is changed."""
    from runner.cli.usage import measure_usage, usage_table, usage_values

    usage = measure_usage(open_workplace(args), output_folder(args), largest=args.largest)
    if args.json:
        console.json(usage_values(usage))
    else:
        console.table(usage_table(usage, _PARTS))
    return ExitCode.PASSED
