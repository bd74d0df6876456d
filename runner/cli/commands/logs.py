"""Print what the steps of a run wrote."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

if TYPE_CHECKING:
    from runner.plan.models import Run

EXAMPLES = """
runner logs crud-r1-0123456789               every step; stdout to stdout, stderr to stderr
runner logs crud-r1@student                  one step, by its name or number
runner logs ghspec/crud-r1 -f                follow a run that is under way until it ends
runner logs crud-r1@2 --stream stderr
runner logs crud-r1@2 --stream stdout > log  exact bytes; on a terminal control characters are made visible
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run, its step, and which stream."""
    parser.add_argument("run", metavar="RUN[@STEP]", help="id of a run or its beginning; a step's name or number")
    parser.add_argument("-f", "--follow", action="store_true", help="wait for more until the run or step has ended")
    parser.add_argument("--stream", choices=("stdout", "stderr"), help="one stream only")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Print from the files what has ended, and from the engine what runs."""
    from runner.cli.finding import find_run, read_record
    from runner.cli.log_source import copy_finished, follow_run

    name, _, step = args.run.partition("@")
    place = find_run(output_folder(args), name)
    record = read_record(place)
    only = _index(record.run, step) if step else None
    streams = (args.stream,) if args.stream else ("stdout", "stderr")
    if record.outcome is not None:
        copy_finished(console, place.layout, record, only=only, streams=streams)
        return ExitCode.PASSED
    from runner.engine.docker import connect

    with connect(args.environment) as engine:
        follow_run(console, engine, place, only=only, streams=streams, follow=args.follow)
    return ExitCode.PASSED


def _index(run: Run, step: str) -> int:
    """Return the position of a step that is named or numbered."""
    fits = [one.index for one in run.steps if step in {one.id, str(one.index)}]
    if fits:
        return fits[0]
    from runner.cli.parser import unknown

    raise unknown(f"step of {run.id}", step, [one.id for one in run.steps], f"runner show {run.id}")
