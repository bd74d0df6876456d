"""What a run comes to: its outcome from its steps, the steps nobody performed, and what was put up with."""

from __future__ import annotations

from collections.abc import Iterable

from runner.evidence.records import Outcome, StepRecord
from runner.execution.step import StepDone, break_step, skip_step
from runner.execution.story import Story
from runner.plan.models import Run
from runner.plan.schedule import TOLERABLE


def outcome_of(steps: Iterable[StepRecord], trouble: str, conflict: str, refused: str = "") -> tuple[Outcome, str]:
    """Return a run's outcome and why: that of the first step, by position, that counts and did not pass.

    Args:
        steps: every step, by position.
        trouble: what broke us; empty if nothing did.
        conflict: why changes could not be merged at the end; empty if they could.
        refused: what a required check found wrong; empty if nothing.
    """
    if trouble:
        return "broken", trouble
    for step in steps:
        if step.counts and step.outcome != "passed":
            return step.outcome, f"step {step.id}: {step.reason}"
    return ("failed", conflict or refused) if conflict or refused else ("passed", "")


def not_performed(run: Run, story: Story) -> list[StepDone]:
    """Record the steps that something broke: those it broke in, and those that never began because of it."""
    missing = [step for step in run.steps if step.id not in story.done]
    broken = [step for step in run.steps if step.id in story.under_way] or missing[:1]
    return [
        break_step(run, step, story.trouble)
        if step in broken
        else skip_step(run, step, f"step {broken[0].id} did not pass")
        for step in missing
    ]


def tolerated(steps: Iterable[StepRecord]) -> tuple[str, ...]:
    """Return a note for each step that did not pass and that the run may do without."""
    return tuple(
        f"step {step.id} {step.outcome.replace('_', ' ')}, and the run may go on without it: {step.reason}"
        for step in steps
        if not step.counts and step.outcome in TOLERABLE
    )
