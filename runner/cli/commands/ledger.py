"""Check the ledger, or rebuild it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode
from runner.report.format import plural

EXAMPLES = """
runner ledger check                  say where ledger and run directories differ
runner ledger rebuild                make the ledger anew from the run directories; no run is lost
runner ledger check --output /data/runs
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to do."""
    parser.add_argument("task", choices=("check", "rebuild"), metavar="TASK", help="check or rebuild")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Compare, or make anew; what could not be understood is named and ends with the code of storage."""
    return _check(args, console) if args.task == "check" else _rebuild(args, console)


def _check(args: Namespace, console: Console) -> int:
    from runner.ledger.rebuild import check
    from runner.ledger.store import ledger_path

    output = output_folder(args)
    problems = check(output) if ledger_path(output).is_file() or output.is_dir() else ()
    if args.json:
        console.json({"problems": list(problems)})
    elif not problems:
        console.say("the ledger and the run directories agree")
    for problem in problems if not args.json else ():
        console.result(problem)
    if problems:
        console.aside("`runner ledger rebuild` makes the ledger say what the run directories say")
    return ExitCode.STORAGE if problems else ExitCode.PASSED


def _rebuild(args: Namespace, console: Console) -> int:
    from runner.execution.claim import claim
    from runner.ledger.rebuild import rebuild

    output = output_folder(args)
    with claim(output):
        done = rebuild(output)
    if args.json:
        kept = str(done.kept) if done.kept else None
        console.json({"runs": done.runs, "problems": list(done.problems), "kept": kept})
    else:
        console.say(f"the ledger holds {plural(done.runs, 'run')}")
        if done.kept:
            console.say(f"the old one could not be used; it is kept as {done.kept}")
    for problem in done.problems:
        console.warn(problem)
    return ExitCode.STORAGE if done.problems else ExitCode.PASSED
