"""The program's own log."""

from __future__ import annotations

import io
from pathlib import Path

from runner.cli.logging import logging_to
from runner.events import Notice, OutputLine, RunFinished


def test_events_are_lines(tmp_path: Path) -> None:
    """Each event is one line with its level; what a container printed cannot break it, output lines stay out."""
    verbose = io.StringIO()
    with logging_to(tmp_path / "state", verbose=verbose) as tell:
        tell(Notice(time=1, run="r", text="a\nb {x} <red>\x1b", level="warning"))
        tell(OutputLine(time=1, run="r", step="s", stream="stdout", line="secret"))
        tell(RunFinished(time=1, run="r", outcome="passed", reason="", seconds=2))
    text = (tmp_path / "state" / "runner.log").read_text(encoding="utf-8")
    assert [line.split()[1] for line in text.splitlines()] == ["WARNING", "DEBUG"]
    assert r"r 'a\nb {x} <red>\x1b'" in text
    assert "secret" not in text
    assert verbose.getvalue() == text


def test_a_folder_that_cannot_be_written_costs_only_the_log(tmp_path: Path) -> None:
    """The log is a convenience: without a place for it the command goes on."""
    (tmp_path / "file").touch()
    with logging_to(tmp_path / "file", verbose=None) as tell:
        tell(Notice(time=1, text="hello"))


def test_nothing_is_logged_after_the_end(tmp_path: Path) -> None:
    """Leaving the block closes the file."""
    with logging_to(tmp_path, verbose=None) as tell:
        pass
    tell(Notice(time=1, text="late"))
    assert (tmp_path / "runner.log").read_text(encoding="utf-8") == ""
