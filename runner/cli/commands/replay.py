"""Replay one run and compare what came of it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder

EXAMPLES = """
runner replay crud-r1-0123456789              needs no model, no key and no network
runner replay run.tar.zst --output replayed   from an archive alone
runner replay crud-r1 --mode sequence         where requests differ from the recorded ones
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to replay and how."""
    parser.add_argument("run", metavar="RUN", help="id of a run or its beginning, a run's directory, or its archive")
    parser.add_argument(
        "--mode",
        choices=("strict", "sequence"),
        default="strict",
        help="find a recorded call by its content (the default), or by order alone",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)
    parser.set_defaults(fresh=True)


def run(args: Namespace, console: Console) -> int:
    """Plan the run again from its own record, perform it, and compare the workspaces."""
    from runner.cli.comparing import exit_code_of, say_outcome, say_workspaces
    from runner.cli.replaying import repeat, replaying

    output = output_folder(args)
    comparison = repeat(args, console, output, output, lambda _, recorded: replaying(recorded, args.mode))
    if args.json:
        console.json(comparison.values())
    else:
        say_outcome(console, comparison)
        say_workspaces(console, comparison)
        console.result(f"evidence in {comparison.directory}")
    return exit_code_of(comparison, same=comparison.same)
