"""Start a `go` that goes on without its terminal."""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

from runner.cli.console import Console
from runner.cli.journal import Opened, Reader
from runner.errors import ConfigError, ExitCode
from runner.evidence.atomic import storage_error
from runner.execution.claim import require_free
from runner.execution.control import CONTROL

OPTION = "--detach"
_LOOK_AGAIN = 0.05


def detach(args: Namespace, console: Console, output: Path) -> int:
    """Start the same command line without `--detach` in a session of its own, and return once it is at work.

    Args:
        args: of `go`, whose configuration has been read and found good.
        console: where it is told how to watch and to stop it.
        output: folder of run directories.

    Returns:
        0 when it is at work; if it ended before, its exit code, after showing what it said.

    Raises:
        ConfigError: for options that make no sense with it.
        StorageError: if another runner is at work in the folder, or the log cannot be written.
    """
    if args.json:
        raise ConfigError(
            "--json with --detach: nobody waits for the results",
            hint="leave --json out; `runner attach --json` prints the results when it has ended",
        )
    require_free(output)
    log = output / CONTROL / "go.log"
    child = _start(args, log)
    while (code := child.poll()) is None:
        if _at_work(output, child.pid):
            console.say(f"at work without this terminal (process {child.pid}); what it prints is in {log}")
            console.say("watch: runner attach   hold: runner pause   stop: runner cancel --all")
            return ExitCode.PASSED
        time.sleep(_LOOK_AGAIN)
    console.result(log.read_text(encoding="utf-8", errors="replace").rstrip("\n"))
    return code


def _start(args: Namespace, log: Path) -> subprocess.Popen[bytes]:
    argv = [one for one in args.command_line if one != OPTION]
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            # Isolated from the folder it starts in, which may hold a `runner` of its own.
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "runner", *argv],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=args.environment,
                start_new_session=True,
            )
    except OSError as error:
        raise storage_error(f"cannot start with output to {log}", error) from error


def _at_work(output: Path, pid: int) -> bool:
    with Reader(output) as reader:
        return any(isinstance(line, Opened) and line.pid == pid for line in reader.read()[:1])
