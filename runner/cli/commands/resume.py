"""End a pause."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

EXAMPLES = """
runner resume
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the folder."""
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Remove the wish; the runner at work goes on within a second."""
    from runner.execution.claim import holder
    from runner.execution.control import end_pause

    output = output_folder(args)
    if (before := end_pause(output)) is None:
        console.say("nothing was paused; to carry out what is unfinished: runner go")
        return ExitCode.PASSED
    onward = "the runner at work goes on" if holder(output) is not None else "no runner is at work: runner go"
    console.say(f"no longer paused ({before}); {onward}")
    return ExitCode.PASSED
