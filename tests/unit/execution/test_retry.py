"""Several attempts at one step: when there is another one, where it begins, and what is kept of those before."""

from __future__ import annotations

import json
import time

from support.fake_world import tell
from support.step_bench import Bench

from runner.events import AttemptStarted, StepFinished
from runner.names import WORKSPACE_DIR
from runner.plan.models import PlannedRetry
from runner.testing import Box, Program


def _flaky(passes_at: int, seen: list[list[str]]) -> Program:
    """Return a program that fails until its n-th start, leaving something in the workspace each time."""

    def program(box: Box) -> int:
        seen.append(sorted(path.name for path in box.path(WORKSPACE_DIR).iterdir()))
        number = len(seen)
        box.path(f"try{number}", write=True).write_text("x")
        box.path("/out/note", write=True).write_text(f"out {number}")
        box.write(f"try {number}\n".encode())
        code = 0 if number >= passes_at else 1
        tell(box, exit_code=code)
        return code

    return program


def test_a_retry_begins_where_the_step_began(bench: Bench) -> None:
    """Each attempt has a container of its own on the workspace as the step found it, and all of them are recorded."""
    seen: list[list[str]] = []
    bench.world.engine.register(_flaky(3, seen))
    done = bench.perform(retry=PlannedRetry(attempts=5))
    assert seen == [[], [], []]
    assert (done.record.outcome, done.record.reason) == ("passed", "")
    assert [one.outcome for one in done.record.attempts] == ["failed", "failed", "passed"]
    assert [one.container[-4:] for one in done.record.attempts] == ["-a01", "-a02", "-a03"]
    assert bench.again == 2
    assert done.metrics.totals["attempts"] == 3
    assert done.metrics.totals["cpu_seconds"] is not None


def test_earlier_attempts_are_kept(bench: Bench) -> None:
    """Logs and /out of each attempt but the last stand under attempts/, the last one's in the step's folder."""
    bench.world.engine.register(_flaky(3, []))
    bench.perform(retry=PlannedRetry(attempts=3))
    for number in (1, 2):
        kept = bench.files.attempt(number)
        assert kept.log("stdout").read_text() == f"try {number}\n"
        assert (kept.outputs / "note").read_text() == f"out {number}"
    assert bench.files.log("stdout").read_text() == "try 3\n"
    assert not bench.files.attempt(3).root.exists()
    assert json.loads((bench.files.inputs / "step.json").read_text())["attempt"] == 3


def test_the_last_attempt_decides(bench: Bench) -> None:
    """When no attempt passes the step ends as its last one did."""
    bench.world.engine.register(_flaky(9, []))
    done = bench.perform(retry=PlannedRetry(attempts=2))
    assert (done.record.outcome, done.record.reason) == ("failed", "exit code 1")
    assert len(done.record.attempts) == 2


def test_only_named_outcomes_are_tried_again(bench: Bench) -> None:
    """An outcome that `on` does not name ends the step at its first attempt."""
    bench.world.engine.register(_flaky(2, []))
    done = bench.perform(retry=PlannedRetry(attempts=3, on=("timed_out",)))
    assert (done.record.outcome, len(done.record.attempts), bench.again) == ("failed", 1, 0)


def test_the_pause_doubles_and_needs_no_container(bench: Bench) -> None:
    """Backoff is waited for before the second attempt and twice as long before the third, resting meanwhile."""
    bench.world.engine.register(_flaky(3, []))
    started = time.monotonic()
    bench.perform(retry=PlannedRetry(attempts=3, backoff=0.1))
    assert time.monotonic() - started >= 0.3
    assert bench.rests == ["begin", "end"] * 2


def test_a_cancelled_pause_ends_at_once(bench: Bench) -> None:
    """A switch thrown while the step waits for its next attempt ends it as cancelled, with what the last one said."""
    bench.world.engine.register(_flaky(3, []))
    bench.on_rest = bench.world.cancellation.cancel
    started = time.monotonic()
    done = bench.perform(retry=PlannedRetry(attempts=3, backoff=250.0))
    assert time.monotonic() - started < 125
    assert done.record.outcome == "cancelled"
    assert done.record.reason == "stopped by the user before attempt 2: exit code 1"
    assert bench.again == 0


def test_the_runs_time_ends_a_retry(bench: Bench) -> None:
    """When limits.run_timeout is used up between two attempts there is no further one."""

    def spend(box: Box) -> int:
        bench.left = 0.0
        tell(box, exit_code=1)
        return 1

    bench.world.engine.register(spend)
    done = bench.perform(retry=PlannedRetry(attempts=3))
    assert done.record.outcome == "timed_out"
    assert done.record.reason == "limits.run_timeout was used up before attempt 2: exit code 1"


def test_a_cancelled_step_is_not_tried_again(bench: Bench) -> None:
    """What the user stopped is over, whatever the retry says."""

    def stop(box: Box) -> int:
        bench.world.cancellation.cancel()
        box.sleep(60)
        return 0

    bench.world.engine.register(stop)
    done = bench.perform(retry=PlannedRetry(attempts=3, on=("failed", "broken", "timed_out")))
    assert (done.record.outcome, len(done.record.attempts)) == ("cancelled", 1)


def test_attempts_are_announced(bench: Bench) -> None:
    """Each attempt tells its number and its container, and the step ends once."""
    bench.world.engine.register(_flaky(2, []))
    bench.perform(retry=PlannedRetry(attempts=2))
    told = [one.attempt for one in bench.world.events if isinstance(one, AttemptStarted)]
    assert told == [1, 2]
    assert sum(isinstance(one, StepFinished) for one in bench.world.events) == 1


def test_notes_say_of_which_attempt(bench: Bench) -> None:
    """Where a step had several attempts a note names its own."""

    def lie(box: Box) -> int:
        box.path("/out/result.json", write=True).write_text("{")
        tell(box, exit_code=1)
        return 1

    bench.world.engine.register(lie)
    done = bench.perform(retry=PlannedRetry(attempts=2))
    assert [note.split(": result.json")[0] for note in done.notes] == [
        "step begin: attempt 1",
        "step begin: attempt 2",
    ]
