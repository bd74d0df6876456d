"""Ctrl-C: the first stops and collects, the second ends the program at once; either way the next `go` continues."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from runner.cli.console import Console
from runner.errors import ExitCode
from runner.events import EventSink, Notice
from runner.execution.cancellation import Cancellation

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def interruptible(console: Console, events: EventSink, cancellation: Cancellation) -> Iterator[None]:
    """Turn the first signal inside the block into a cancellation, and the second into the end of this process.

    Args:
        console: the terminal, whose cursor is shown again.
        events: who tells the user.
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
        text = f"{signal.Signals(number).name}: stopping runs and keeping their evidence; once more to stop at once"
        notice = Notice(time=time.time(), text=text, level="warning")
        # The interrupted thread may hold a listener's lock or be in the middle of printing: another one tells.
        threading.Thread(target=events, args=(notice,), name="signal", daemon=True).start()

    before = {one: signal.signal(one, handle) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, old in before.items():
            signal.signal(one, old)
