"""Compare the workspaces of two steps."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

EXAMPLES = """
runner diff crud-r1@2                      what step 2 changed
runner diff crud-r1@2 crud-r1@student      from step 2 to the step named student
runner diff crud-r1@0 crud-r1@3            everything up to step 3
runner diff ghspec/crud-r1@3 ghspec/crud-r2@3 --stat     two repetitions after the same step
runner diff crud-r1@2 crud-r1@3 --name-only
runner diff crud-r1@2 crud-r1@3 --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the steps, and how much to show."""
    parser.add_argument("old", metavar="RUN@STEP", help="a step, by its name or number; 0 is before the first")
    parser.add_argument(
        "new",
        metavar="RUN@STEP",
        nargs="?",
        help="the step to compare it with; without it, the first with its predecessor",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stat", action="store_true", help="one row per path, with bytes and lines")
    how.add_argument("--name-only", action="store_true", help="only which paths; no content is read")
    how.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Print what differs, with as much of the content as is asked for."""
    from runner.cli.states import two_states
    from runner.evidence.history.diff import differences, text_diffs
    from runner.report import history_tables as shown

    old, new = two_states(output_folder(args), args.old, args.new)
    changes = differences(old, new)
    if args.name_only:
        for change in changes:
            console.block(shown.change_line(change))
    elif args.json:
        console.json({"changes": [shown.change_values(one) for one in text_diffs(old, new, changes)]})
    elif not changes:
        console.say("no difference")
    elif args.stat:
        console.table(shown.stat_table(list(text_diffs(old, new, changes))))
    else:
        for one in text_diffs(old, new, changes):
            for line in shown.diff_lines(one):
                console.block(line)
    return ExitCode.PASSED
