"""Ctrl-C: the first stops and collects, the second ends the program at once; either way the next `go` continues."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from runner.cli.console import Console
from runner.errors import ExitCode
from runner.execution.cancellation import Cancellation

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def interruptible(console: Console, cancellation: Cancellation) -> Iterator[None]:
    """Turn the first signal inside the block into a cancellation, and the second into the end of this process.

    Args:
        console: where the user is told.
        cancellation: the switch that is thrown.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        if cancellation.cancelled:
            # Threads may wait for the engine for long; nothing they hold is lost, so the process just ends. What is
            # left in the engine has its own deadline, and the next start collects it.
            if console.interactive:
                os.write(console.talk.fileno(), _SHOW_CURSOR)
            os._exit(ExitCode.INTERRUPTED)
        cancellation.cancel()
        message = (
            f"\n{signal.Signals(number).name}: stopping runs and keeping their evidence; once more to stop at once\n"
        )
        os.write(console.err.fileno(), message.encode())

    before = {one: signal.signal(one, handle) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, old in before.items():
            signal.signal(one, old)
