"""Look around in a step's workspace, in a container of its framework."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder

if TYPE_CHECKING:
    from runner.engine.protocol import ContainerSpec, Engine

EXAMPLES = """
runner shell crud-r1@3                      a shell in the framework's container, on a copy of what step 3 left
runner shell crud-r1@3 --before             on what it found, with the inputs it had
runner shell crud-r1@3 -- python -m pytest  one command; its exit code is this one's
runner shell crud-r1@3 --keep work          the copy stays, in the new folder work
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the step, the moment, the copy and the command."""
    parser.add_argument("step", metavar="RUN@STEP", help="a step, by its name or number")
    parser.add_argument("argv", metavar="COMMAND", nargs="*", help="after `--`: what to run instead of a shell")
    parser.add_argument("--before", action="store_true", help="as the step found the workspace, not as it left it")
    parser.add_argument("--keep", metavar="DIR", help="keep the copy in this new folder; by default it is removed")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Copy what is needed, run the container on it, and remove both."""
    from runner.cli.shelling import open_shell, told
    from runner.cli.targets import new_folder
    from runner.cli.terminal import has_terminal, tidying
    from runner.engine.docker import connect
    from runner.execution.shell import private_copy

    output = output_folder(args)
    keep = new_folder(args.keep, "--keep") if args.keep else None
    terminal = has_terminal()
    with tidying(), connect(args.environment) as engine, private_copy(output, keep) as copy:
        shell = open_shell(args, engine, output, copy, terminal=terminal)
        for line in told(shell):
            console.aside(line)
        code = _perform(engine, shell.spec, terminal=terminal)
        if keep is not None:
            console.aside(f"what is there now: {copy.workspace}")
        return code


def _perform(engine: Engine, spec: ContainerSpec, *, terminal: bool) -> int:
    """Run the container with this program's own streams; return its exit code."""
    import contextlib
    import os
    import sys

    from runner.cli.terminal import lent
    from runner.engine.terminal import attached, converse, resize
    from runner.errors import ExitCode

    info = engine.info()

    def follow(size: os.terminal_size) -> None:
        resize(info, spec.name, size)

    container = engine.containers.create(spec)
    try:
        with attached(info, container) as connection:
            engine.containers.start(container)
            sinks = {"stdout": sys.stdout.fileno(), "stderr": sys.stderr.fileno()}
            with lent(follow) if terminal else contextlib.nullcontext():
                converse(connection, sys.stdin.fileno(), sinks, terminal=terminal)
        state = engine.containers.wait(container)
    finally:
        engine.containers.remove(container)
    return state.exit_code if state is not None and state.exit_code is not None else ExitCode.BROKEN
