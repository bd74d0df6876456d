"""Decide which planned runs are still to be done, and say why in one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.plan.changes import explain_change
from runner.plan.models import Run

FINAL_OUTCOMES = frozenset({"passed", "failed", "timed_out", "exceeded"})
"""Outcomes that are the framework's doing: doing the run again would only repeat its cost."""
_EXPERIMENT_BUDGET = "budgets.experiment."
"""What the reason of a run names that ended because all runs together had used up the experiment's budget."""


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
    directory: str = ""
    """Relative to the output folder."""
    waits_for: tuple[str, ...] = ()
    """Approvals of a suspended run that a person has to decide on; it goes on from there."""
    answered: str = ""
    """What was decided on one of them, in words; empty while it waits."""
    goes_on_at: str = ""
    """Step at which a run that was cut off goes on; empty if it is done again from its first."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to happen with a planned run, and why."""

    run: Run
    action: Literal["run", "skip"]
    why: str
    waits: bool = False
    """Whether it is skipped because a person has to decide first."""
    goes_on: bool = False
    """Whether a run that was cut off goes on where it was; its containers may be at work already."""


def is_final(outcome: str | None, reason: str) -> bool:
    """Tell whether a run with this result is done; one that the whole experiment's budget ended never had its chance."""
    return outcome in FINAL_OUTCOMES and not _out_of_experiment_budget(outcome, reason)


def _out_of_experiment_budget(outcome: str | None, reason: str) -> bool:
    return outcome == "exceeded" and _EXPERIMENT_BUDGET in reason


def decide(
    runs: Sequence[Run],
    done: Mapping[str, PastRun],
    *,
    fresh: bool = False,
    previous: Callable[[Run], Run | None] | None = None,
) -> Sequence[Decision]:
    """Return one decision per run, in the runs' order.

    What is done is skipped: passed, failed, timed_out, exceeded. So is what waits for a person's decision; once that
    is there, it goes on. Everything else runs (again), and so does what was refused a model call because the
    experiment's whole budget was used up.

    Args:
        runs: what is planned.
        done: past runs by digest.
        fresh: run everything, whatever is done.
        previous: looks up the latest run of the same framework, scenario and repetition under any digest, so that
            a run that has to be repeated because something changed can say what; asked only for runs that are not
            in `done`.
    """
    return list(_decisions(runs, done, fresh=fresh, previous=previous))


def to_do(decisions: Iterable[Decision]) -> list[Run]:
    """Return the runs that are to be carried out, in order, those first that go on where they were cut off."""
    chosen = [one for one in decisions if one.action == "run"]
    return [one.run for one in sorted(chosen, key=lambda one: not one.goes_on)]


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
            waits = bool(past.waits_for) and not past.answered
            action: Literal["run", "skip"] = "skip" if waits or is_final(past.outcome, past.reason) else "run"
            goes_on = action == "run" and bool(past.goes_on_at)
            yield Decision(run=run, action=action, why=_describe(past), waits=waits, goes_on=goes_on)
        else:
            yield Decision(run=run, action="run", why=_why_new(run, previous))


def _why_new(run: Run, previous: Callable[[Run], Run | None] | None) -> str:
    if run.digest is None:
        return "its image is not built yet"
    if run.parent is not None:
        return f"goes on from {run.parent.run}@{run.parent.step}"
    old = previous(run) if previous is not None else None
    # A fork has other steps and another beginning: it is no earlier version of this run.
    comparable = old is not None and old.digest != run.digest and old.parent is None
    return explain_change(old, run) if old is not None and comparable else "never started"


def _describe(past: PastRun) -> str:
    when = f" on {past.finished_at[:16].replace('T', ' ')}" if past.finished_at else ""
    because = f": {' '.join(past.reason.split())}" if past.reason else ""
    if past.outcome is None and past.waits_for:
        return past.answered or f"waits for approval: {', '.join(past.waits_for)}"
    if past.outcome is None:
        return f"was interrupted, goes on at step {past.goes_on_at}" if past.goes_on_at else "was interrupted"
    if _out_of_experiment_budget(past.outcome, past.reason):
        return f"the experiment's budget was used up last time{because}"
    if past.outcome not in FINAL_OUTCOMES:
        return f"{past.outcome} last time{because}"
    words = {"timed_out": "timed out", "exceeded": "exceeded a limit or budget"}
    return f"{words.get(past.outcome, past.outcome)}{when}"
