"""The time that one `runner go` may take."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from runner.events import EventSink, Notice
from runner.execution.cancellation import Cancellation
from runner.execution.context import now
from runner.spec.units import show_seconds


@contextlib.contextmanager
def curfew(seconds: float | None, cancellation: Cancellation, tell: EventSink) -> Iterator[None]:
    """Cancel everything once the block has lasted so long; what is cancelled is done by the next `runner go`.

    Args:
        seconds: limits.experiment_timeout; None for any time.
        cancellation: thrown then.
        tell: told then.
    """
    if seconds is None:
        yield
        return
    why = f"stopped by limits.experiment_timeout ({show_seconds(seconds)})"

    def over() -> None:
        tell(Notice(time=now(), text=f"{why}: `runner go` goes on with what is left", level="warning"))
        cancellation.cancel(why)

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), over)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
