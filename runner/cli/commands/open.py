"""Give back a step's workspace."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

EXAMPLES = """
runner open crud-r1@2                into the new folder crud-r1-0123456789@002-course
runner open crud-r1@course work      into the new folder work
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the step, and where to."""
    parser.add_argument("step", metavar="RUN@STEP", help="a step, by its name or number")
    parser.add_argument(
        "folder", metavar="DIR", nargs="?", help="a folder that does not exist yet, or is empty, in one that does"
    )
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Write the workspace as it was, and say what of it was never kept."""
    from runner.cli.states import kept_step
    from runner.cli.targets import new_folder
    from runner.evidence.history.restore import restore

    named = new_folder(args.folder) if args.folder else None
    kept, step = kept_step(output_folder(args), args.step)
    target = named or new_folder(f"{kept.place.run_id}@{step.number:03d}-{step.id}")
    index = restore(kept.history, step, target)
    for one in index.skipped:
        console.warn(f"not kept: {one}")
    console.result(str(target))
    return ExitCode.PASSED
