"""Watch the runner at work."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder

EXAMPLES = """
runner attach            watch it; Ctrl-C leaves it alone
runner attach --json     wait until it has ended, and print the results
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the folder, and how to print the results."""
    parser.add_argument("--json", action="store_true", help="print the results as one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Show what it does until it ends; the exit code is its."""
    from runner.cli.attaching import attach

    return attach(console, output_folder(args))
