"""The `runner` command: parse, run one command, and turn whatever ends it into text and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn, TextIO

from runner.cli.console import Console
from runner.cli.parser import load_command, main_parser, parse
from runner.errors import ExitCode, RunnerError


def entry() -> None:
    """Run the command line of this process and exit; being told to end works like Ctrl-C, so that things are put away."""
    for one in (signal.SIGTERM, signal.SIGHUP):
        # One that is ignored, as under nohup, stays so.
        if signal.getsignal(one) is signal.SIG_DFL:
            signal.signal(one, _interrupt)
    sys.exit(main(sys.argv[1:], environment=os.environ, out=sys.stdout, err=sys.stderr))


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str], *, environment: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """Run one command line.

    Args:
        argv: arguments without the program's name.
        environment: the process's environment; commands read it as `args.environment`.
        out: where results go.
        err: where errors go, and everything but the result with `--json`.

    Returns:
        The exit code. Every error a command raises ends here, and nowhere else.
    """
    console = Console(out=out, err=err)
    try:
        args = parse(argv)
        args.environment = dict(environment)
        args.command_line = tuple(argv)
        no_color = args.no_color or bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
        console = Console(
            out=out, err=err, color=not no_color, quiet=args.quiet, to_json=bool(getattr(args, "json", False))
        )
        return _dispatch(args, console)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else ExitCode.PASSED
    except RunnerError as error:
        console.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        console.warn("interrupted; nothing is lost, the same command continues")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter must not complain about it while it ends.
        console.abandon()
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  the one place that turns any exception into terminal text
        from runner.cli.crash import keep_traceback

        console.error(keep_traceback(error, argv))
        return ExitCode.BROKEN


def _dispatch(args: Namespace, console: Console) -> int:
    """Run the command that was named, or say what there is."""
    if getattr(args, "version", False):
        from runner.cli.crash import program_version

        console.result(f"runner {program_version()}")
        return ExitCode.PASSED
    if not args.command:
        main_parser().print_help(console.err)
        return ExitCode.CONFIG
    code = load_command(args.command).run(args, console)
    console.flush()
    return int(code)
