"""Watch a `go` that is at work elsewhere, or see what the last one came to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from runner.cli.console import Console
from runner.cli.journal import Ended, LeftOut, Line, Opened, Planned, Reader, journal_path
from runner.cli.live import notices, watching
from runner.cli.progress import Progress
from runner.cli.results import Results, impossible_lines, rows_of, show_results
from runner.errors import ConfigError, ExitCode, RunnerError
from runner.events import Event, EventSink
from runner.execution.claim import holder
from runner.ledger.store import ledger_path, open_ledger

_LOOK_AGAIN = 0.2


class RunnerGone(RunnerError):
    """A runner ended without saying how."""

    exit_code = ExitCode.BROKEN


def attach(console: Console, output: Path) -> int:
    """Show what the runner at work does until it ends, then its results; without one, the results of the last.

    Returns:
        The exit code of the one that is watched; 0 if the user leaves before, which disturbs nobody.

    Raises:
        ConfigError: if nothing was ever carried out in the folder.
        RunnerGone: if the runner ended without a word.
        StorageError: if the journal or the ledger cannot be read.
    """
    pid = holder(output)
    if pid is None and not journal_path(output).exists():
        raise ConfigError(
            f"no runner is at work in {output}, and none has been",
            hint="runner go --detach   starts one that this command can watch",
        )
    with Reader(output) as reader, ExitStack() as stack:
        watch = _Watch(console, stack)
        try:
            for lines in _until_it_ends(output, reader, pid):
                watch.take(lines)
        except KeyboardInterrupt:
            stack.close()
            console.say("left; the experiment goes on. watch: runner attach   stop: runner cancel --all")
            return ExitCode.PASSED
        stack.close()
    return _conclude(console, output, watch)


def _until_it_ends(output: Path, reader: Reader, pid: int | None) -> Iterator[list[Line]]:
    """Yield what is told, batch by batch, from the one that is at work; of the last one if none is."""
    mine = pid is None
    while True:
        # Asked first: if nobody holds the folder now, all that was written has been written.
        alive = holder(output) is not None
        batch = reader.read()
        if not mine:
            # The journal of an earlier one stands until this one has opened its own.
            begin = next((n for n, line in enumerate(batch) if isinstance(line, Opened) and line.pid == pid), None)
            mine = begin is not None
            batch = batch[begin:] if begin is not None else []
        yield batch
        if not alive or any(isinstance(line, Ended) for line in batch):
            return
        if not batch:
            time.sleep(_LOOK_AGAIN)


class _Watch:
    """Shows what is told from now on, on the ground of what was told before; `stack` holds the view."""

    def __init__(self, console: Console, stack: ExitStack) -> None:
        self.opened: Opened | None = None
        self.ended: Ended | None = None
        self.last: float | None = None
        """Time of the last event."""
        self._console = console
        self._stack = stack
        self._begun = time.time()
        self._progress: Progress | None = None
        self._title = ""
        self._left_out = self._told = LeftOut()
        self._view: EventSink | None = None

    def take(self, lines: list[Line]) -> None:
        """Take what was told, in order."""
        for line in lines:
            match line:
                case Opened():
                    self.opened = line
                case Planned():
                    self._stack.close()
                    self._progress, self._title, self._view = line.progress(), line.title, None
                    self._left_out = line.left_out
                case Ended():
                    self.ended = line
                case Event():
                    self._tell(line)
        if self.ended is None:
            self._show()

    def _tell(self, event: Event) -> None:
        self.last = event.time
        if event.time < self._begun and self._view is None:
            if self._progress is not None:
                self._progress.tell(event)
            return
        self._show()
        (self._view or notices(self._console))(event)

    def _show(self) -> None:
        if self._view is not None or self._progress is None:
            return
        done, active = self._progress.done, len(self._progress.active)
        if not self._console.interactive:
            self._console.say(f"{self._title}: {done} of {self._progress.total} runs done, {active} under way")
        if self._left_out != self._told:
            # Once, however often the plan is told anew.
            self._told = self._left_out
            for text in impossible_lines(self._told.runs, self._told.images_failed):
                self._console.say(text)
        self._view = self._stack.enter_context(watching(self._console, self._progress, self._title))


def _conclude(console: Console, output: Path, watch: _Watch) -> int:
    opened, ended = watch.opened, watch.ended
    if opened is None or ended is None:
        number = f" (process {opened.pid})" if opened is not None else ""
        heard = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(watch.last)) if watch.last is not None else "never"
        raise RunnerGone(
            f"the runner{number} ended without a word",
            why=f"it was killed, or the machine went down; last heard of: {heard}",
            hint=f"runner go {opened.experiment if opened is not None else ''}".rstrip()
            + "   goes on; what was done stays done",
        )
    if ended.error:
        console.warn(f"it ended early: {ended.error}")
    if ended.digests or ended.left_out.runs:
        with open_ledger(ledger_path(output)) as ledger:
            rows = rows_of(ledger, ended.digests)
        show_results(
            console,
            Results(
                experiment=opened.experiment,
                label=opened.label,
                output=output,
                rows=rows,
                code=ended.code,
                images_failed=ended.left_out.images_failed,
                impossible=ended.left_out.runs,
                stopped=ended.stopped,
            ),
        )
    return ended.code
