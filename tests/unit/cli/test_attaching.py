"""What one who watches from elsewhere is told of runs that are not possible here."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest

from runner.cli import journal as room
from runner.cli.attaching import attach
from runner.cli.console import Console
from runner.cli.journal import Journal, LeftOut, Opened, Planned, Reader
from runner.cli.progress import begin
from runner.events import Notice
from runner.execution.claim import claim
from runner.plan.impossible import Impossible

LEFT_OUT = LeftOut(
    runs=(Impossible(framework="away", scenario="hello", runs=2, images=("away",)),),
    images_failed={"away": "a.org cannot be reached"},
)
LINES = [
    "not possible here: 2 runs, for want of an image; nothing is recorded of them",
    "  away, hello: 2 runs (image of away: a.org cannot be reached)",
    "  each runner go tries to build again",
]
PATIENCE = 60.0


def opened(pid: int = 4711) -> Opened:
    """Return the first line of a `go`."""
    return Opened(pid=pid, experiment="default", label="scripted model", time=1.0)


def write(output: Path, left_out: LeftOut = LEFT_OUT, stopped: str = "") -> None:
    """Write the journal of a `go` that is over."""
    with Journal(output, opened()) as journal:
        journal.plan("title", begin([("here", "hello")], jobs=1, now=1), left_out)
        journal.end(5, (), left_out, stopped)


def test_the_results_name_what_was_left_out(tmp_path: Path, pipe: io.StringIO) -> None:
    """Framework, scenario, number and reason stand below the results, once, as below those of the `go` itself."""
    write(tmp_path, stopped="too many broke")
    assert attach(Console(out=pipe, err=pipe), tmp_path) == 5
    shown = pipe.getvalue().splitlines()
    assert [line for line in shown if line in LINES] == LINES
    assert "stopped: too many broke" in shown


def test_the_document_has_it_too(tmp_path: Path) -> None:
    """With --json it is a value, as in the document of the `go`."""
    write(tmp_path)
    out = io.StringIO()
    assert attach(Console(out=out, err=io.StringIO(), to_json=True), tmp_path) == 5
    document = json.loads(out.getvalue())
    assert document["impossible"] == [{"framework": "away", "scenario": "hello", "runs": 2, "images": ["away"]}]
    assert document["images_failed"] == LEFT_OUT.images_failed


def test_where_nothing_was_left_out_nothing_is_said(tmp_path: Path, pipe: io.StringIO) -> None:
    """No word about images that are all there."""
    write(tmp_path, LeftOut())
    attach(Console(out=pipe, err=pipe), tmp_path)
    assert "not possible" not in pipe.getvalue()


def test_it_is_told_at_once_while_the_others_run(
    tmp_path: Path, pipe: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One who comes in the middle hears it before anything ends, and only once, although the journal begins anew."""
    monkeypatch.setattr(room, "_LARGE", 200)
    with claim(tmp_path):
        codes: list[int] = []
        with Journal(tmp_path, opened(os.getpid())) as journal:
            journal.plan("title", begin([("here", "hello")], jobs=1, now=1), LEFT_OUT)
            thread = threading.Thread(target=lambda: codes.append(attach(Console(out=pipe, err=pipe), tmp_path)))
            thread.start()
            for _ in range(int(PATIENCE / 0.02)):
                journal(Notice(time=2, text="x" * 50))
                if LINES[0] in pipe.getvalue():
                    break
                threading.Event().wait(0.02)
            assert [line for line in pipe.getvalue().splitlines() if line in LINES] == LINES
            with Reader(tmp_path) as reader:
                assert [line.left_out for line in reader.read() if isinstance(line, Planned)] == [LEFT_OUT]
            threading.Event().wait(0.3)
            assert pipe.getvalue().count(LINES[0]) == 1
            journal.end(0, ())
    thread.join(PATIENCE)
    assert codes == [0]
