"""The live display on a terminal that can be read back."""

from __future__ import annotations

import io
import re
import threading
from dataclasses import replace

import pytest
from rich.cells import cell_len

from runner.cli.console import Console
from runner.cli.live import LiveView, notices, plain, watching
from runner.cli.live_view import draw
from runner.cli.progress import Progress, begin
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
from runner.report.format import DASH

KINDS = [("mini-swe-agent", "crud"), ("ghspec", "crud"), ("ghspec", "hello")]
RECORDED: list[Event] = [
    Notice(time=100, text="images: 2 ready"),
    RunStarted(
        time=100, run="crud-r1-0123456789", framework="mini-swe-agent", scenario="crud", repetition=1, steps_total=6
    ),
    RunStarted(time=101, run="crud-r1-abcdef0123", framework="ghspec", scenario="crud", repetition=1, steps_total=6),
    StepStarted(time=101, run="crud-r1-0123456789", step="student", index=1),
    OutputLine(
        time=102, run="crud-r1-0123456789", step="student", stream="stdout", line="\x1b[31mwriting\x1b[0m app\r"
    ),
    ModelCalled(time=103, run="crud-r1-0123456789", step="student", tokens_in=12345, tokens_out=678, cost_usd=None),
    StepStarted(time=104, run="crud-r1-abcdef0123", step="student", index=1),
    OutputLine(time=105, run="crud-r1-abcdef0123", step="student", stream="stderr", line="漢字" * 100),
]
DONE = RunFinished(time=142, run="crud-r1-0123456789", outcome="failed", reason="no file", seconds=42)


def folded() -> Progress:
    """Return the progress after the recorded events."""
    progress = begin(KINDS, jobs=2, now=100)
    for event in RECORDED:
        progress.tell(event)
    return progress


def texts(progress: Progress, width: int, height: int) -> list[str]:
    """Return the drawn lines without their tones."""
    lines = draw(progress, title="default, scripted model", now=142, width=width, height=height)
    return ["".join(text for text, _ in line) for line in lines]


def test_the_display_at_120_columns() -> None:
    """Totals, model, estimate, and for each slot run, step, time and its last line, escaped."""
    progress = folded()
    assert texts(progress, 120, 40)[:2] == [
        f"00:42  0/3 done  ETA {DASH}  default, scripted model",
        f"2 running  1 left  tokens 12.3k in 678 out  cost {DASH}",
    ]
    slot = texts(progress, 120, 40)[2]
    assert slot.startswith("  mini-swe-agent  crud-r1-0123456789  00:42  1/6 student  ")
    assert slot.endswith("1/6 student  1 call 12.3k in 678 out  writing app")
    assert "\x1b" not in slot


def test_a_run_in_several_steps_names_them() -> None:
    """With steps side by side, or done in another order, the line says how many have ended and which are under way."""
    progress, run = folded(), "crud-r1-0123456789"
    progress.tell(StepStarted(time=106, run=run, step="teacher", index=2))
    assert "  0 of 6 steps, at student, teacher  " in texts(progress, 120, 40)[2]
    progress.tell(StepFinished(time=107, run=run, step="student", index=1, outcome="passed", reason="", seconds=5))
    assert "  2/6 teacher  " in texts(progress, 120, 40)[2]
    progress.tell(StepStarted(time=108, run=run, step="routes", index=5))
    progress.tell(StepFinished(time=109, run=run, step="teacher", index=2, outcome="passed", reason="", seconds=5))
    assert "  2 of 6 steps, at routes  " in texts(progress, 120, 40)[2]


def test_suspended_runs_are_counted_apart() -> None:
    """The totals say how many runs wait for a person."""
    progress = folded()
    progress.tell(RunSuspended(time=120, run="crud-r1-0123456789", steps=("review",), seconds=20))
    assert texts(progress, 120, 40)[1].startswith("1 running  1 left  1 waiting for approval  ")


def test_calls_of_a_slot_grow_while_it_runs() -> None:
    """Each run under way shows its own calls, tokens and, where one is known, their cost."""
    progress = folded()
    priced = ModelCalled(
        time=110, run="crud-r1-abcdef0123", step="student", tokens_in=1000, tokens_out=10, cost_usd=0.25
    )
    progress.tell(priced)
    assert "1/6 student  1 call 1.00k in 10 out $0.2500  " in texts(progress, 160, 40)[3]
    progress.tell(replace(priced, tokens_in=None, tokens_out=5, cost_usd=None))
    assert "1/6 student  2 calls 1.00k+ in 15+ out $0.2500+  " in texts(progress, 160, 40)[3]
    assert texts(progress, 160, 40)[1].endswith("tokens 13.3k+ in 693+ out  cost $0.2500+")


def test_waiting_for_the_provider_is_shown() -> None:
    """Time that calls waited adds up in the run's line and in the totals; a moment is not worth a word."""
    progress = folded()
    assert "waiting" not in "".join(texts(progress, 200, 40))
    for _ in range(2):
        progress.tell(ModelCalled(time=110, run="crud-r1-abcdef0123", step="student", waited_seconds=45.0))
    assert texts(progress, 200, 40)[1].endswith("  waiting for provider 1m30s")
    assert "  waiting for provider 1m30s" in texts(progress, 200, 40)[3]
    assert "waiting" not in texts(progress, 200, 40)[2]


@pytest.mark.parametrize("width", [10, 20, 40, 79, 80, 120, 300])
@pytest.mark.parametrize("height", [2, 3, 4, 24])
def test_nothing_is_wider_or_higher_than_the_terminal(width: int, height: int) -> None:
    """No line reaches the last column, counting wide characters twice, and no display is higher than its terminal."""
    lines = texts(folded(), width, height)
    assert max(cell_len(line) for line in lines) < width
    assert len(lines) <= max(height - 1, 3)


def test_runs_without_room_are_counted() -> None:
    """A display that cannot show every run says how many it leaves out."""
    assert texts(folded(), 80, 4)[-1] == "  and 2 more runs"


def screen(output: str, columns: int) -> list[str]:
    """Play what was written to a terminal of `columns` columns and return its rows."""
    rows, row = [""], 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]", output):
        if part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif part.endswith("A") and part.startswith("\x1b"):
            row = max(row - int(part[2:-1]), 0)
        elif part == "\x1b[J":
            rows = [*rows[:row], ""]
        elif not part.startswith("\x1b") and part != "\r":
            if cell_len(rows[row] + part) > columns:
                row += 1
                rows += [""] * (row + 1 - len(rows))
            rows[row] += part
    return rows


def test_redrawing_leaves_one_display(colorful: Console, terminal: io.StringIO) -> None:
    """After any number of redraws the screen holds what was printed for good, then one display."""
    view = LiveView(colorful, begin(KINDS, jobs=2, now=100), "default", size=lambda: (120, 24))
    for event in [*RECORDED, DONE]:
        view.tell(event)
        view.redraw(142)
    rows = screen(terminal.getvalue(), 120)
    assert rows[0] == "images: 2 ready"
    assert rows[1].endswith("finished crud-r1-0123456789 of mini-swe-agent: failed in 42 s: no file (1/3)")
    assert rows[2].startswith("00:42  1/3 done")
    assert len([one for one in rows if one]) == 5


def test_stopping_removes_the_display_and_prints_the_news(colorful: Console, terminal: io.StringIO) -> None:
    """What was not yet printed is printed when the display goes; the cursor comes back."""
    view = LiveView(colorful, begin(KINDS, jobs=2, now=100), "default", size=lambda: (80, 24))
    view.start()
    view.redraw(100)
    view.tell(Notice(time=1, text="last words"))
    view.stop()
    assert [row for row in screen(terminal.getvalue(), 80) if row] == ["last words"]
    assert terminal.getvalue().rfind("\x1b[?25h") > terminal.getvalue().rfind("\x1b[?25l")


def test_a_terminal_made_narrower_is_cleared_whole(colorful: Console, terminal: io.StringIO) -> None:
    """Lines that a narrower terminal has broken into several rows are all removed."""
    sizes = iter([(80, 24), (80, 24), (20, 24), (20, 24)])
    view = LiveView(colorful, folded(), "default", size=lambda: next(sizes))
    view.redraw(142)
    drawn = [len(row) for row in screen(terminal.getvalue(), 1000) if row]
    terminal.truncate(0)
    view.redraw(142)
    moved = re.match(r"\0*\x1b\[(\d+)A", terminal.getvalue())
    assert moved is not None
    assert int(moved[1]) >= sum(-(-length // 20) for length in drawn)


def test_events_from_many_threads(colorful: Console) -> None:
    """Listeners are told from many threads at once and lose nothing."""
    view = LiveView(colorful, begin(KINDS, jobs=2, now=100), "default", size=lambda: (80, 24))
    call = ModelCalled(time=1, run="a", step="s", tokens_in=1, tokens_out=1)

    def tell_often() -> None:
        for _ in range(500):
            view.tell(call)

    threads = [threading.Thread(target=tell_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    view.redraw(142)
    assert view._progress.use.tokens_in == 4000


def test_plain_lines(plain_console: Console, pipe: io.StringIO) -> None:
    """Without a terminal a line tells when a run starts, is suspended, goes on and ends, a step ends, and each notice."""
    tell = plain(plain_console, begin(KINDS, jobs=2, now=100))
    step = StepFinished(
        time=110, run="crud-r1-0123456789", step="student", index=1, outcome="passed", reason="", seconds=9
    )
    other = "crud-r1-abcdef0123"
    waits = RunSuspended(time=120, run=other, steps=("review", "release"), seconds=19)
    started = RECORDED[2]
    assert isinstance(started, RunStarted)
    again = replace(started, resumed=True)
    for event in [*RECORDED, step, DONE, waits, again]:
        tell(event)
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in pipe.getvalue().splitlines()]
    assert lines == [
        "images: 2 ready",
        "started crud-r1-0123456789 of mini-swe-agent",
        "started crud-r1-abcdef0123 of ghspec",
        "  crud-r1-0123456789 of mini-swe-agent, step 1 student: passed in 9.0 s",
        "finished crud-r1-0123456789 of mini-swe-agent: failed in 42 s: no file (1/3)",
        "suspended crud-r1-abcdef0123 of ghspec: waits for approval of review, release",
        "goes on with crud-r1-abcdef0123 of ghspec",
    ]


class Closed(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_listeners_never_raise() -> None:
    """A closed pipe does not end a run that only reports its progress."""
    console = Console(out=Closed(), err=Closed())
    for tell in (plain(console, begin(KINDS, jobs=2, now=100)), notices(console)):
        for event in [*RECORDED, DONE]:
            tell(event)


def test_without_a_person_nothing_is_drawn(plain_console: Console, pipe: io.StringIO) -> None:
    """Watching a pipe yields plain lines and no control sequence."""
    with watching(plain_console, begin(KINDS, jobs=2, now=100), "default") as tell:
        for event in RECORDED:
            tell(event)
    assert "\x1b" not in pipe.getvalue()
    assert "started crud-r1-0123456789" in pipe.getvalue()
