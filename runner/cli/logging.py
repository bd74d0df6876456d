"""The log of this program: `.runner/runner.log`, rotated, and stderr with --verbose. Nothing else configures loguru."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from runner.events import Event, EventSink, Notice, OutputLine

_FORMAT = "{time:YYYY-MM-DDTHH:mm:ss.SSSZ} {level:<7} {message}"
_ROTATION = "10 MB"
_KEPT = 5


@contextmanager
def logging_to(folder: Path, *, verbose: TextIO | None) -> Iterator[EventSink]:
    """Write events to the log inside the block.

    Args:
        folder: where `runner.log` is kept; a folder that cannot be written costs the log, not the command.
        verbose: a stream that gets every line too, or None.

    Yields:
        A listener; it never raises, and output lines, which each run keeps for itself, are left out.
    """
    from loguru import logger

    logger.remove()
    handlers: list[int] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append(
            logger.add(folder / "runner.log", format=_FORMAT, rotation=_ROTATION, retention=_KEPT, level="DEBUG")
        )
    except OSError:
        # The log is a convenience: what must not be lost is in the records.
        handlers.clear()
    if verbose is not None:
        handlers.append(logger.add(verbose, format=_FORMAT, level="DEBUG", colorize=False))

    def tell(event: Event) -> None:
        if isinstance(event, OutputLine):
            return
        level = event.level.upper() if isinstance(event, Notice) and event.level in _LEVELS else "DEBUG"
        logger.log(level, "{}", _describe(event))

    try:
        yield tell
    finally:
        for handler in handlers:
            logger.remove(handler)


_LEVELS = {"debug", "info", "warning", "error"}


def _describe(event: Event) -> str:
    """Write an event as one line; repr keeps line breaks and control characters out of the log."""
    if isinstance(event, Notice):
        return f"{event.run or '-'} {event.text!r}"
    fields = {name: value for name, value in vars(event).items() if name not in {"time", "run"}}
    return f"{event.run or '-'} {type(event).__name__} {fields!r}"
