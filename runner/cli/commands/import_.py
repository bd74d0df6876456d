"""Take in the runs of another machine."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.errors import ExitCode

EXAMPLES = """
runner import crud.bundle                    into this project, or a new one in this folder
runner import crud.bundle --output elsewhere/runs
runner import crud.bundle --without-images   needs no engine; to look at the runs
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the bundle, and what is not wanted of it."""
    parser.add_argument("file", metavar="FILE", help="a bundle, as `runner export --bundle` writes it")
    parser.add_argument("--without-images", action="store_true", help="leave the images out; needs no engine")
    parser.add_argument(
        "--output", metavar="DIR", help="folder of run directories; by default RUNNER_OUTPUT, else runs/ of the project"
    )


def run(args: Namespace, console: Console) -> int:
    """Check every byte, then take in what is not there yet, and say what that is."""
    from pathlib import Path

    from runner.cli.importing import import_bundle
    from runner.cli.workplace import output_folder
    from runner.errors import ConfigError
    from runner.evidence.bundle import open_bundle
    from runner.report.format import plural
    from runner.spec.project import find_project

    start = Path(args.project).absolute()
    try:
        project = find_project(start).root
        output = output_folder(args)
    except ConfigError:
        if not start.is_dir():
            raise
        # On another machine there may be no project yet: the bundle brings what one is made of.
        project = start
        output = Path(args.output).absolute() if args.output else start / "runs"
    with open_bundle(Path(args.file).absolute()) as bundle:
        done = import_bundle(bundle, output, project, None if args.without_images else args.environment)
        without = not bundle.bundle.with_images or args.without_images
    for name in done.runs:
        console.result(name)
    for line in (*done.skipped, *(f"{name} is another one here, and stays" for name in done.differing)):
        console.warn(line)
    console.say(
        f"{plural(len(done.runs), 'run')} taken in, {len(done.there)} there already; "
        f"{plural(len(done.images), 'image')} loaded, {plural(len(done.files), 'file')} added to {project}"
    )
    if without:
        console.say("images were left out: `runner images build` makes them from the recipes")
    return ExitCode.PASSED
