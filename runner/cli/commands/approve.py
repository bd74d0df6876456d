"""Approve what a run waits for."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console

EXAMPLES = """
runner approve crud-r1-0123456789
runner approve ghspec/crud-r1@review --message agreed
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run, its step, and what to say."""
    from runner.cli.approving import add_decision_arguments

    add_decision_arguments(parser)


def run(args: Namespace, console: Console) -> int:
    """Write the decision down; the first one counts."""
    from runner.cli.approving import decide

    return decide(args, console, "approve")
