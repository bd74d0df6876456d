"""Make images of a run's steps, or a bundle of runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from runner.cli.states import Kept

EXAMPLES = """
runner export crud-r1 --oci crud.tar              one file; `docker load -i crud.tar` opens it
runner export crud-r1 --oci crud.tar --image me/crud     with a name of your own
runner export crud-r1 --image me/crud             into the engine: me/crud:step-001-student, ...
runner export crud-r1 crud-r2 --bundle crud.bundle       two runs for another machine, with their images
runner export --experiment default --bundle all.bundle --without-images
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the runs, the file and the name."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="id of a run, FRAMEWORK/ID, or the beginning of either; images: of one"
    )
    parser.add_argument(
        "--oci", metavar="FILE", help="new file to write: an OCI image layout that `docker load` opens too"
    )
    parser.add_argument(
        "--image",
        metavar="NAME",
        help="name of the images, without a tag: each step has its own; without --oci they go into the engine",
    )
    parser.add_argument(
        "--bundle",
        metavar="FILE",
        help="new file to write: runs, what they were made from and images, for `runner import`",
    )
    parser.add_argument("--experiment", metavar="NAME", help="with --bundle: every finished run of this experiment")
    parser.add_argument(
        "--without-images", action="store_true", help="with --bundle: the other machine builds them from the recipes"
    )
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Write the file, or hand the same bytes to the engine, and name what is in it."""
    if args.bundle:
        return _bundle(args, console)
    if not args.oci and not args.image:
        raise ConfigError(
            "export to where?",
            hint="name a file with --oci FILE or --bundle FILE, or images of the engine with --image NAME",
        )
    if args.experiment or args.without_images:
        raise ConfigError("--experiment and --without-images are about a bundle", hint="add --bundle FILE")
    return _images(args, console)


def _images(args: Namespace, console: Console) -> int:
    from runner.cli.states import kept_run
    from runner.cli.targets import new_file
    from runner.evidence.history.export import export_file, image_name

    if len(args.runs) != 1:
        raise ConfigError(f"images are made of one run, not of {len(args.runs)}", hint="name one: runner runs")
    target = new_file(args.oci) if args.oci else None
    kept = kept_run(output_folder(args), args.runs[0])
    name = image_name(args.image or f"{kept.place.framework}/{kept.place.run_id}")
    if target is not None:
        export_file(kept.history, kept.steps, name, target)
    else:
        _load(args, kept, name)
    for step in kept.steps:
        console.result(f"{name}:{step.tag}")
    return ExitCode.PASSED


def _load(args: Namespace, kept: Kept, name: str) -> None:
    import tempfile
    from pathlib import Path

    from runner.engine.docker import connect
    from runner.evidence.history.export import export_file

    with connect(args.environment) as engine, tempfile.TemporaryDirectory() as folder:
        # In a file first: a damaged layer is found before the engine gets anything.
        file = Path(folder) / "images.tar"
        export_file(kept.history, kept.steps, name, file)
        with file.open("rb") as stream:
            for _ in engine.images.transfer(stream):
                continue


def _bundle(args: Namespace, console: Console) -> int:
    import tempfile
    from pathlib import Path

    from runner.cli.bundling import bundled, chosen_runs
    from runner.cli.targets import new_file
    from runner.cli.workplace import open_workplace
    from runner.report.format import plural, size

    if args.oci or args.image:
        raise ConfigError("--bundle goes with neither --oci nor --image", hint="make them one after the other")
    if not args.runs and not args.experiment:
        raise ConfigError("a bundle of which runs?", hint="name some, or all of one: --experiment NAME")
    target = new_file(args.bundle)
    chosen, left_out = chosen_runs(output_folder(args), args.runs, args.experiment)
    for line in left_out:
        console.warn(line)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=target.parent) as scratch:
        environment = None if args.without_images else args.environment
        bundle = bundled(target, open_workplace(args).project, chosen, Path(scratch), environment)
    for one in bundle.runs:
        console.result(one.name)
    images = f"with {plural(len(bundle.images), 'image')}" if bundle.with_images else "without images"
    console.say(f"{plural(len(bundle.runs), 'run')}, {images}: {target}, {size(target.stat().st_size)}")
    return ExitCode.PASSED
