"""What a `go` tells, written down and read by those who watch from elsewhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.cli import journal as room
from runner.cli.journal import Ended, Journal, Line, Opened, Planned, Reader, journal_path
from runner.cli.progress import Progress, begin
from runner.errors import ConfigError
from runner.events import (
    Event,
    ModelCalled,
    Notice,
    OutputLine,
    RunFinished,
    RunStarted,
    RunSuspended,
    StepFinished,
    StepStarted,
)

OPENED = Opened(pid=4711, experiment="default", label="scripted model", time=1.0)
KINDS = [("mini", "crud")] * 60


def _started(run: str) -> RunStarted:
    return RunStarted(time=2, run=run, framework="mini", scenario="crud", repetition=1, steps_total=6)


def _run(run: str, *, finished: bool = True) -> list[Event]:
    """Return what is told of a run of one step and two calls."""
    told = [
        _started(run),
        StepStarted(time=3, run=run, step="first", index=1),
        ModelCalled(time=3, run=run, step="first", tokens_in=10, tokens_out=1, cost_usd=0.25),
        ModelCalled(time=4, run=run, step="first", tokens_in=20, tokens_out=None),
    ]
    ended = RunFinished(time=5, run=run, outcome="passed", reason="", seconds=3, metrics={"cpu_seconds": 1.5})
    return [*told, ended] if finished else told


def _watched(lines: list[Line]) -> Progress:
    """Return what one who has read these lines knows."""
    (planned,) = (line for line in lines if isinstance(line, Planned))
    progress = planned.progress()
    for line in lines:
        if isinstance(line, Event):
            progress.tell(line)
    return progress


def test_everything_told_is_read_as_it_was(tmp_path: Path) -> None:
    """Lines come back as the values they were, in order, but for what steps print."""
    events = [
        Notice(time=1, text="zwei\nZeilen", level="warning"),
        *_run("a"),
        RunSuspended(time=6, run="b", steps=("ask",), seconds=2.0),
        StepFinished(time=7, run="b", step="first", index=1, outcome="failed", reason="x", seconds=0.5),
    ]
    with Journal(tmp_path, OPENED) as journal, Reader(tmp_path) as reader:
        for event in [
            *events[:3],
            OutputLine(time=1, run="a", step="first", stream="stdout", line="secret"),
            *events[3:],
        ]:
            journal(event)
        assert reader.read() == [OPENED, *events]
        assert reader.read() == []
        journal.end(1, ("ab", "cd"))
        journal.__exit__(None, None, None)
        assert reader.read() == [Ended(code=1, digests=("ab", "cd"))]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("no such thing"), Ended(code=2, error="no such thing")),
        (KeyboardInterrupt(), Ended(code=130, error="KeyboardInterrupt")),
    ],
)
def test_an_early_end_is_told(tmp_path: Path, error: BaseException, expected: Ended) -> None:
    """Whatever ends the `go` before its results stands in the last line."""
    with pytest.raises(type(error)), Journal(tmp_path, OPENED):
        raise error
    with Reader(tmp_path) as reader:
        assert reader.read()[-1] == expected


def test_the_one_who_writes_is_not_disturbed(tmp_path: Path) -> None:
    """The progress handed in is the live view's own: writing the journal changes nothing in it."""
    progress = begin(KINDS, jobs=2, now=1)
    with Journal(tmp_path, OPENED) as journal:
        journal.plan("title", progress)
        for event in _run("a"):
            journal(event)
    assert progress == begin(KINDS, jobs=2, now=1)


def test_the_file_stays_small_and_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much was told, one who begins to watch knows what one knows who has watched from the start."""
    monkeypatch.setattr(room, "_LARGE", 2_000)
    watching = begin(KINDS, jobs=2, now=1, history={("mini", "crud"): [3.0]})
    with Journal(tmp_path, OPENED) as journal, Reader(tmp_path) as reader:
        journal.plan("title", watching)
        told = [event for number in range(40) for event in _run(f"r{number}")]
        told += [*_run("waits", finished=False), RunSuspended(time=6, run="waits", steps=("ask",), seconds=2.0)]
        told += _run("under-way", finished=False)
        for event in told:
            journal(event)
            watching.tell(event)
        assert journal_path(tmp_path).stat().st_size < 6_000
        lines = reader.read()
        known = _watched(lines)
    assert lines[0] == OPENED
    assert known.use == watching.use
    assert known.outcomes == watching.outcomes
    assert +known.left == +watching.left
    assert known.suspended == watching.suspended
    assert [slot.run for slot in known.active] == [slot.run for slot in watching.active]
    assert known.eta(10) == watching.eta(10)


def test_a_reader_notices_that_the_file_was_begun_anew(tmp_path: Path) -> None:
    """What stood at the end of the old file is read before the beginning of the new one."""
    with Reader(tmp_path) as reader:
        assert reader.read() == []
        with Journal(tmp_path, OPENED):
            assert reader.read() == [OPENED]
        other = replace(OPENED, pid=4712)
        with Journal(tmp_path, other):
            assert [type(line).__name__ for line in reader.read()] == ["Ended", "Opened"]


def test_lines_nobody_knows_are_passed_over(tmp_path: Path) -> None:
    """A line that a crash cut short, or that another version wrote, costs that line alone."""
    with Journal(tmp_path, OPENED) as journal:
        with journal_path(tmp_path).open("ab") as file:
            file.write(b'{"event": "Notice", "time": \n{"event": "Comet"}\n[]\n{"event": "Notice", "time": "x"}\n')
        journal(Notice(time=1, text="after"))
        with Reader(tmp_path) as reader:
            assert reader.read() == [OPENED, Notice(time=1, text="after")]


def test_a_full_disk_silences_the_journal_only(tmp_path: Path) -> None:
    """A listener that cannot write must not fail; what it has to say is dropped."""
    with Journal(tmp_path, OPENED) as journal:
        assert journal._handle is not None
        os.dup2(os.open("/dev/full", os.O_WRONLY), journal._handle)
        journal(Notice(time=1, text="lost"))
        journal(Notice(time=2, text="lost too"))
    with Reader(tmp_path) as reader:
        assert reader.read() == [OPENED]
