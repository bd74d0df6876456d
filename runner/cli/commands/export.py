"""Make images of a run's steps."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

if TYPE_CHECKING:
    from runner.cli.states import Kept

EXAMPLES = """
runner export crud-r1 --oci crud.tar              one file; `docker load -i crud.tar` opens it
runner export crud-r1 --oci crud.tar --image me/crud     with a name of your own
runner export crud-r1 --image me/crud             into the engine: me/crud:step-001-student, ...
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run, the file and the name."""
    parser.add_argument("run", metavar="RUN", help="id of a run, FRAMEWORK/ID, or the beginning of either")
    parser.add_argument("--oci", metavar="FILE", help="file to write: an OCI image layout that `docker load` opens too")
    parser.add_argument(
        "--image",
        metavar="NAME",
        help="name of the images, without a tag: each step has its own; without --oci they go into the engine",
    )
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Write the file, or hand the same bytes to the engine, and name the images."""
    from pathlib import Path

    from runner.cli.states import kept_run
    from runner.errors import ConfigError
    from runner.evidence.history.export import export_file, image_name

    if not args.oci and not args.image:
        raise ConfigError(
            "export to where?", hint="name a file with --oci FILE, or images of the engine with --image NAME"
        )
    kept = kept_run(output_folder(args), args.run)
    name = image_name(args.image or f"{kept.place.framework}/{kept.place.run_id}")
    if args.oci:
        export_file(kept.history, kept.steps, name, Path(args.oci).absolute())
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
