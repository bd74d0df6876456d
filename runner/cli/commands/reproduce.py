"""Carry out the same inputs again, and compare what came of it step by step."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder

if TYPE_CHECKING:
    from runner.cli.comparing import Comparison, StepPair

EXAMPLES = """
runner reproduce crud-r1                       into runs/.reproduced, beside nothing of yours
runner reproduce crud.tar.zst --into again     from an archive alone, into a folder of your own
runner reproduce crud-r1 --json
"""
FOLDER = ".reproduced"
"""Folder of run directories below that of the runs; no command lists what is in it."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to reproduce, and where to."""
    parser.add_argument(
        "run", metavar="RUN|FILE", help="id of a run or its beginning, a run's directory, or its archive"
    )
    parser.add_argument(
        "--into", metavar="DIR", help=f"folder for the new run; by default {FOLDER} in that of the runs"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)
    parser.set_defaults(fresh=True)


def run(args: Namespace, console: Console) -> int:
    """Perform the run again, answered by its recording or its script, and say whether it is the same."""
    from pathlib import Path

    from runner.cli.comparing import exit_code_of
    from runner.cli.replaying import as_before, repeat

    output = output_folder(args)
    into = Path(args.into).absolute() if args.into else output / FOLDER
    comparison = repeat(args, console, output, into, as_before)
    if args.json:
        console.json(comparison.values())
    else:
        _say(console, comparison)
    return exit_code_of(comparison, same=comparison.identical)


def _say(console: Console, comparison: Comparison) -> None:
    from runner.cli.comparing import say_outcome, say_workspaces
    from runner.report.format import plural

    if comparison.identical:
        compared = sum(step.workspaces is not None and step.workspaces.kept for step in comparison.steps)
        after = "each" if compared == len(comparison.steps) else f"{compared} of them, which both have kept,"
        console.result(
            f"identical: {plural(len(comparison.steps), 'step')}, the same outcome of each, and the same workspace "
            f"after {after} and in the end"
        )
        console.result(f"{comparison.after.files} files, sha256 {comparison.after.sha256}")
    else:
        if comparison.parting is not None:
            _say_parting(console, comparison.parting)
        say_outcome(console, comparison)
        say_workspaces(console, comparison)
    console.result(f"evidence in {comparison.directory}")


def _say_parting(console: Console, step: StepPair) -> None:
    from runner.cli.comparing import say_paths
    from runner.evidence.history.parting import named

    old, new = step.outcomes
    console.result(f"they part in step {step.index}, {step.step}")
    if old != new:
        console.result(f"  {old or 'not begun'} when recorded, now {new or 'not begun'}")
    changes = named(step.workspaces.changes) if step.workspaces else []
    if changes:
        console.result(f"  its workspace differs in {len(changes)} paths (first: recorded, second: reproduced)")
        say_paths(console, changes)
