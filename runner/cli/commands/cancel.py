"""Stop runs from another terminal."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ConfigError

EXAMPLES = """
runner cancel ghspec/crud-r1        stop this run, or give it up if its runner was killed; the others go on
runner cancel --all                 stop the `go` at work, as Ctrl-C in its terminal would
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to stop, and whether to wait."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="the run, or the beginning of its id")
    parser.add_argument("--all", action="store_true", help="everything that the runner at work does")
    parser.add_argument(
        "--at-once", action="store_true", help="with --all: do not wait for evidence; the next `go` collects it"
    )
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it has ended")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Ask, and wait until it is done."""
    from runner.cli.cancelling import cancel_all, cancel_run

    if args.all == (args.run is not None) or (args.at_once and not args.all):
        raise ConfigError(
            "what is to be stopped: one RUN, or --all",
            hint="runner cancel RUN, or runner cancel --all; --at-once goes with --all only",
        )
    output = output_folder(args)
    if args.all:
        return cancel_all(console, output, wait=not args.no_wait, at_once=args.at_once)
    return cancel_run(console, output, args.run, args.environment, wait=not args.no_wait)
