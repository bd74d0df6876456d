"""Show who runs and who waits on this machine."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.errors import ExitCode

EXAMPLES = """
runner queue
runner queue --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add how to print it."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace, console: Console) -> int:
    """List the containers of all users' runners, and those that wait with the reason."""
    from runner.cli.queueing import queue, queue_table, queue_values
    from runner.events import boottime

    tickets, now = queue(), boottime()
    if args.json:
        console.json(queue_values(tickets, now))
    elif any(ticket.demands for ticket in tickets):
        console.table(queue_table(tickets, now))
    else:
        console.say("nobody runs anything on this machine, and nobody waits")
    return ExitCode.PASSED
