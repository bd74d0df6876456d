"""Show runs while they are carried out: a display that is redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from rich.cells import cell_len

from runner.cli.console import Console
from runner.cli.live_view import Line, draw
from runner.cli.progress import Progress
from runner.events import Event, EventSink, Notice, RunFinished, RunStarted, RunSuspended, StepFinished
from runner.report.format import duration

_REFRESH_SECONDS = 0.5
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
Size = Callable[[], tuple[int, int]]
"""Returns columns and rows of the terminal, now."""


@contextmanager
def watching(console: Console, progress: Progress, title: str) -> Iterator[EventSink]:
    """Show progress inside the block: live if a person watches, one line per event otherwise.

    Args:
        console: where it is shown.
        progress: state at the start.
        title: what runs, with the model's label.

    Yields:
        The listener to send events to, from any thread.
    """
    if not console.interactive or console.quiet:
        yield plain(console, progress)
        return
    view = LiveView(console, progress, title, size=lambda: terminal_size(console.talk))
    view.start()
    try:
        yield view.tell
    finally:
        view.stop()


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Return columns and rows of a terminal, 80 x 24 if it does not say."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return columns or 80, rows or 24


def notices(console: Console) -> EventSink:
    """Return a listener that prints sentences as they come and ignores everything else."""

    def tell(event: Event) -> None:
        if isinstance(event, Notice):
            with suppress(OSError):
                _print(console, event.level, _sentence(event))

    return tell


def tell_all(*sinks: EventSink) -> EventSink:
    """Return a listener that tells several others, in order."""

    def tell(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return tell


def plain(console: Console, progress: Progress) -> EventSink:
    """Return a listener that prints a line when a run starts, a step ends, and a run ends or is suspended."""
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            level, text = _fold(progress, event)
            # A closed pipe must not end a run; whoever prints the result meets it again.
            with suppress(OSError):
                _print(console, level, text)

    return tell


def _fold(progress: Progress, event: Event) -> tuple[str, str]:
    """Fold an event in and return what is said about it for good: level and text, empty if nothing."""
    framework = progress.framework_of(event.run)
    progress.tell(event)
    match event:
        case Notice():
            return event.level, _sentence(event)
        case RunStarted():
            how = f"goes on with {event.run}" if event.resumed else f"started {event.run}"
            return "step", f"{_stamp(event)} {how} of {event.framework}"
        case StepFinished():
            return (
                "step",
                f"{_stamp(event)}   {event.run} of {framework}, step {event.index} {event.step}: {_ended(event)}",
            )
        case RunSuspended():
            steps = ", ".join(event.steps)
            return "info", f"{_stamp(event)} suspended {event.run} of {framework}: waits for approval of {steps}"
        case RunFinished():
            done = f"{progress.done}/{progress.total}"
            return "info", f"{_stamp(event)} finished {event.run} of {framework}: {_ended(event)} ({done})"
        case _:
            return "", ""


def _print(console: Console, level: str, text: str) -> None:
    match level:
        case "":
            return
        case "warning" | "error":
            console.warn(text)
        case _:
            console.say(text)


def _sentence(notice: Notice) -> str:
    return f"{notice.run}: {notice.text}" if notice.run else notice.text


def _stamp(event: Event) -> str:
    return time.strftime("%H:%M:%S", time.localtime(event.time))


def _ended(event: StepFinished | RunFinished) -> str:
    reason = f": {event.reason}" if event.reason else ""
    return f"{event.outcome.replace('_', ' ')} in {duration(event.seconds)}{reason}"


class LiveView:
    """A display of a few lines at the bottom of the terminal, redrawn twice a second by its own thread.

    Listening only changes values under a lock; drawing happens elsewhere, so a slow terminal holds up no run.
    """

    def __init__(self, console: Console, progress: Progress, title: str, *, size: Size) -> None:
        self._console = console
        self._progress = progress
        self._title = title
        self._size = size
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="live view", daemon=True)
        self._widths: list[int] = []
        """Columns that each drawn line takes."""
        self._queue: deque[tuple[str, str]] = deque()
        """Level and text of what is to be printed above the display."""

    def tell(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            level, text = _fold(self._progress, event)
            if level not in {"", "step"}:
                self._queue.append((level, text))

    def start(self) -> None:
        """Begin to draw."""
        self._console.frame(_HIDE_CURSOR)
        self._thread.start()

    def stop(self) -> None:
        """Remove the display, print what is left to say, and leave the terminal as it was."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._console.frame(self._erase() + _SHOW_CURSOR)
        self._print_news()

    def redraw(self, now: float) -> None:
        """Print the news above the display and draw it again at the terminal's present size."""
        if self._queue:
            self._console.frame(self._erase())
            self._print_news()
        columns, rows = self._size()
        with self._lock:
            lines = draw(self._progress, title=self._title, now=now, width=columns, height=rows)
        self._console.frame(self._erase() + "".join(self._painted(line) + "\n" for line in lines))
        self._widths = [sum(cell_len(text) for text, _ in line) for line in lines]

    def _refresh(self) -> None:
        try:
            while not self._ended.wait(_REFRESH_SECONDS):
                self.redraw(time.time())
        except OSError:
            # The terminal is gone; the runs go on, and the main thread learns of it when it prints.
            return

    def _print_news(self) -> None:
        """Print for good what has been queued."""
        while self._queue:
            _print(self._console, *self._queue.popleft())

    def _painted(self, line: Line) -> str:
        return "".join(self._console.toned(text, tone) for text, tone in line)

    def _erase(self) -> str:
        """Return what removes the drawn lines; a terminal made narrower has broken them into several rows each."""
        columns = max(self._size()[0], 1)
        rows = sum(max(-(-width // columns), 1) for width in self._widths)
        self._widths = []
        return f"\x1b[{rows}A\r\x1b[J" if rows else ""
