"""A run's log holds its own events, each on disk as it happens."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from runner.errors import StorageError
from runner.events import Notice, OutputLine, StepFinished, StepStarted
from runner.evidence.runlog import RunLog


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_writes_events_as_they_happen(tmp_path: Path) -> None:
    """Each event is one JSON object with time, name and its own fields, readable before the log is closed."""
    path = tmp_path / "logs" / "run.log"
    with RunLog(path) as log:
        log(StepStarted(time=0.0015, run="r", step="student", index=1))
        assert _lines(path) == [
            {"time": "1970-01-01T00:00:00.001Z", "event": "StepStarted", "step": "student", "index": 1}
        ]
        log(StepFinished(time=86400.0, run="r", step="student", index=1, outcome="passed", reason="", seconds=2.5))
    assert _lines(path)[1]["time"] == "1970-01-02T00:00:00.000Z"


def test_keeps_only_this_run(tmp_path: Path) -> None:
    """Events of other runs and of none, and lines that steps print, are left out."""
    with RunLog(tmp_path / "log", "mine") as log:
        for run in ("other", "mine", ""):
            log(Notice(time=0.0, run=run, text=run))
        log(OutputLine(time=0.0, run="mine", step="s", stream="stdout", line="x"))
    assert [one["text"] for one in _lines(tmp_path / "log")] == ["mine"]


def test_first_event_names_the_run(tmp_path: Path) -> None:
    """Without an id given, the log is that of the first run it hears of."""
    with RunLog(tmp_path / "log") as log:
        for run in ("", "first", "second", "first"):
            log(Notice(time=0.0, run=run, text=run))
    assert [one["text"] for one in _lines(tmp_path / "log")] == ["first", "first"]


def test_text_is_inert(tmp_path: Path) -> None:
    """Control characters, line ends and half characters are escaped: one event stays one line of ASCII."""
    with RunLog(tmp_path / "log") as log:
        log(Notice(time=0.0, run="r", text="\x1b[2J\n\udcff\u202e"))
    assert b"\\u001b[2J\\n\\udcff\\u202e" in (tmp_path / "log").read_bytes()
    assert len(_lines(tmp_path / "log")) == 1


def test_appends_after_a_crash(tmp_path: Path) -> None:
    """A line that a crash cut off is ended, so that the next event stands alone."""
    (tmp_path / "log").write_text('{"time": "1')
    with RunLog(tmp_path / "log") as log:
        log(Notice(time=0.0, run="r", text="after"))
    cut, whole = (tmp_path / "log").read_text().splitlines()
    assert cut == '{"time": "1'
    assert json.loads(whole)["text"] == "after"


def test_many_threads(tmp_path: Path) -> None:
    """Lines of several threads never mix and none is lost."""
    with RunLog(tmp_path / "log", "r") as log:

        def speak(name: str) -> None:
            for number in range(50):
                log(Notice(time=0.0, run="r", text=f"{name}{number}" * 50))

        threads = [threading.Thread(target=speak, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({str(one["text"]) for one in _lines(tmp_path / "log")}) == 200


def test_failure_to_write_is_kept_not_raised(tmp_path: Path) -> None:
    """A listener does not raise: what went wrong is remembered."""
    (tmp_path / "log").symlink_to("/dev/full")
    with RunLog(tmp_path / "log", "r") as log:
        log(Notice(time=0.0, run="r", text="x"))
    assert "No space left" in log.problem
    log(Notice(time=0.0, run="r", text="after closing"))


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A log that cannot be opened is a StorageError with its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*/file/log"):
        RunLog(tmp_path / "file" / "log").__enter__()
