"""Sentences about single steps of a run, for below a table of them."""

from __future__ import annotations

from collections.abc import Iterator

from runner.evidence.records import RunRecord, StepRecord
from runner.report.format import plural
from runner.report.waiting import decision_words, waiting_lines

_TOLERATED = {"failed", "timed_out", "exceeded"}


def step_notes(record: RunRecord) -> Iterator[str]:
    """Yield why steps did not pass, what people decided, what was answered, and what is waited for."""
    for step in record.steps:
        yield from (f"{step.id}: {words}" for words in _words(step))
    yield from waiting_lines(f"{record.run.framework.name}/{record.run.id}", record.suspended)


def _words(step: StepRecord) -> Iterator[str]:
    if step.reason and step.decision is None:
        going_on = "; the run goes on without it" if not step.counts and step.outcome in _TOLERATED else ""
        yield f"{step.reason}{going_on}"
    if step.decision is not None:
        yield decision_words(step.decision)
    if step.answers:
        open_ones = sum(one.answer_sha256 is None for one in step.answers)
        without = f", {open_ones} of them without an answer" if open_ones else ""
        yield f"asked {plural(len(step.answers), 'question')}{without}"


def values_words(step: StepRecord) -> str:
    """Write what a step took and gave, like `takes a, b; gives c (12 bytes)`; empty if nothing."""
    takes = ", ".join(one.name for one in step.inputs)
    gives = ", ".join(f"{one.name} ({plural(one.bytes, 'byte')})" for one in step.outputs)
    return "; ".join(part for part in (takes and f"takes {takes}", gives and f"gives {gives}") if part)
