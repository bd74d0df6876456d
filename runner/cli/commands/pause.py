"""Let nothing new begin."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

EXAMPLES = """
runner pause
runner pause --message maintenance
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the reason and the folder."""
    parser.add_argument("--message", "-m", default="", metavar="TEXT", help="why, for those who wonder")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Write the wish down, which the runner at work, and any later one, follows."""
    import getpass
    import time

    from runner.execution.claim import holder
    from runner.execution.context import iso
    from runner.execution.control import Pause, pause

    output = output_folder(args)
    before = pause(output, Pause(by=getpass.getuser(), since=iso(time.time()) or "", reason=args.message))
    if before is not None:
        console.say(f"{before} already; `runner resume` ends that")
        return ExitCode.PASSED
    who = "the runner at work begins nothing new" if holder(output) is not None else "a `runner go` here will wait"
    console.say(f"paused: {who} until `runner resume`; attempts under way go on to their end")
    return ExitCode.PASSED
