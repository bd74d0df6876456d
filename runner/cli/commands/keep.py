"""Mark runs that no rule of retention may remove."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ConfigError, ExitCode

EXAMPLES = """
runner keep crud-r1 --note "figure 3 of the paper"
runner keep                      which runs are kept, and why
runner keep crud-r1 --undo
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the runs, and what to do with their marks."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="id of a run or its beginning; none lists what is kept")
    parser.add_argument("--note", default="", metavar="TEXT", help="a word why")
    parser.add_argument("--undo", action="store_true", help="take the mark away")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Mark the runs, or take their marks away; then list every run that is kept."""
    from runner.cli.finding import find_own_run
    from runner.evidence.kept import keep, kept, release

    output = output_folder(args)
    if not args.runs and (args.undo or args.note):
        raise ConfigError("no run is named", hint="runner keep RUN; `runner keep` alone lists those that are kept")
    places = [find_own_run(output, text) for text in args.runs]
    for directory in (f"{place.framework}/{place.run_id}" for place in places):
        if not args.undo:
            keep(output, directory, args.note)
        elif not release(output, directory):
            console.warn(f"{directory} was not kept")
    marks = kept(output)
    if args.json:
        console.json([{"run": directory, "note": note} for directory, note in marks.items()])
        return ExitCode.PASSED
    for directory, note in marks.items():
        console.painted([(directory, ""), (f"  {note}" if note else "", "faint")])
    if not marks:
        console.say("no run is kept by a mark; `runner clean` goes by its rules alone")
    return ExitCode.PASSED
