"""Decide which planned runs are still to be done, and say why in one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.plan.changes import explain_change
from runner.plan.models import Run

FINAL_OUTCOMES = frozenset({"passed", "failed", "timed_out", "exceeded"})
"""Outcomes that are the framework's doing: doing the run again would only repeat its cost."""


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run that was started some time; one that was only planned is no past run."""

    digest: str
    run_id: str
    framework: str
    scenario: str
    repetition: int
    outcome: str | None
    """None: it was started and never finished."""
    reason: str
    finished_at: str | None
    """UTC, ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to happen with a planned run, and why."""

    run: Run
    action: Literal["run", "skip"]
    why: str


def decide(
    runs: Sequence[Run],
    done: Mapping[str, PastRun],
    *,
    fresh: bool = False,
    previous: Callable[[Run], Run | None] | None = None,
) -> Sequence[Decision]:
    """Return one decision per run, in the runs' order.

    What is done is skipped: passed, failed, timed_out, exceeded. Everything else runs (again).

    Args:
        runs: what is planned.
        done: past runs by digest.
        fresh: run everything, whatever is done.
        previous: looks up the latest run of the same framework, scenario and repetition under any digest, so that
            a run that has to be repeated because something changed can say what; asked only for runs that are not
            in `done`.
    """
    return list(_decisions(runs, done, fresh=fresh, previous=previous))


def _decisions(
    runs: Sequence[Run],
    done: Mapping[str, PastRun],
    *,
    fresh: bool,
    previous: Callable[[Run], Run | None] | None,
) -> Iterator[Decision]:
    for run in runs:
        past = done.get(run.digest) if run.digest is not None else None
        if fresh:
            yield Decision(run=run, action="run", why=f"--fresh ({_describe(past)})" if past else "--fresh")
        elif past is not None:
            action: Literal["run", "skip"] = "skip" if past.outcome in FINAL_OUTCOMES else "run"
            yield Decision(run=run, action=action, why=_describe(past))
        else:
            yield Decision(run=run, action="run", why=_why_new(run, previous))


def _why_new(run: Run, previous: Callable[[Run], Run | None] | None) -> str:
    if run.digest is None:
        return "its image is not built yet"
    old = previous(run) if previous is not None else None
    return "never started" if old is None or old.digest == run.digest else explain_change(old, run)


def _describe(past: PastRun) -> str:
    when = f" on {past.finished_at[:16].replace('T', ' ')}" if past.finished_at else ""
    because = f": {' '.join(past.reason.split())}" if past.reason else ""
    match past.outcome:
        case None:
            return "was interrupted"
        case "broken":
            return f"broken last time{because}"
        case "cancelled" | "skipped":
            return f"{past.outcome} last time{because}"
        case "timed_out":
            return f"timed out{when}"
        case "exceeded":
            return f"exceeded a budget{when}"
        case outcome:
            return f"{outcome}{when}"
