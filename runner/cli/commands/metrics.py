"""Write the metrics of many runs as one table or document, under our names or those of the earlier experiment."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.selection import names
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ConfigError, ExitCode

EXAMPLES = """
runner metrics > metrics.csv                             a row per finished run, every metric a column
runner metrics --experiment seeds --json                 the same with units, sources and reasons
runner metrics --names seeds                             TOK_IN, T_WALL_seconds, CRUDe, ESR, AUTR, ZDI, ...
runner metrics --names seeds --folder seeds/runs         their layout, for their analysis scripts
"""
_FILTERS = ("framework", "scenario", "experiment")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the filters, the names and where it goes."""
    for name in _FILTERS:
        parser.add_argument(f"--{name}", action="append", metavar="NAME", help=f"only runs of this {name}")
    parser.add_argument(
        "--names", choices=("own", "seeds"), default="own", help="whose names: ours, or those of the earlier experiment"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--json", action="store_true", help="print one JSON document instead of CSV")
    where.add_argument(
        "--folder",
        metavar="DIR",
        help="with --names seeds: write manifest.json and a metrics.json per run, as they had them",
    )
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Write what is measured of finished runs; what is not is empty, null, or with the others' names left out."""
    from runner.cli.exporting import csv_lines, documents, exported, write_folder
    from runner.cli.narrowing import require_fit, require_folder
    from runner.report.format import plural

    if args.folder and args.names != "seeds":
        raise ConfigError("--folder is the layout of the earlier experiment", hint="add --names seeds")
    output = output_folder(args)
    require_folder(output, args.output)
    filters = {f"{name}s": names(getattr(args, name)) for name in _FILTERS}
    runs = exported(output, **filters)
    if args.json and not runs:
        console.json([])
    if not runs:
        require_fit(output, filters, "runner metrics --help", finished=True)
    if args.folder:
        target = write_folder(args.folder, runs)
        console.say(f"{plural(len(runs), 'run')}: {target}")
    elif args.json and runs:
        console.json(documents(runs, args.names))
    elif not args.json:
        for line in csv_lines(runs, args.names):
            console.result(line)
    return ExitCode.PASSED
