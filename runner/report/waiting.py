"""What is said of a run that waits for people: what is asked, until when, and what to type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.evidence.records import DecisionRecord, Suspension
from runner.report.format import plural

_SECONDS = 19
"""Characters of an ISO 8601 time up to its seconds."""
_DONE = {"approve": "approved", "reject": "rejected"}


def asked_words(suspended: Iterable[Suspension]) -> str:
    """Write what a run waits for on one line."""
    return "; ".join(f"{one.step} waits for approval: {' '.join(one.message.split())}" for one in suspended)


def waiting_lines(directory: str, suspended: Sequence[Suspension]) -> list[str]:
    """Write what a run waits for and how to decide, two lines per question.

    Args:
        directory: the run as `framework/id`.
        suspended: what people are asked.
    """
    lines = []
    for one in suspended:
        ends = f" ({_DONE[one.default]} if nobody decides until {moment(one.until)} UTC)" if one.until else ""
        lines.append(f"{one.step} waits for approval: {' '.join(one.message.split())}{ends}")
        place = directory if len(suspended) == 1 else f"{directory}@{one.step}"
        lines.append(f"decide: runner approve {place}, or runner reject {place}; then runner go")
    return lines


def decision_words(decision: DecisionRecord) -> str:
    """Write what was decided, by whom and when, like `approved on 2026-01-01 10:00:00 UTC: fine`."""
    by = " because its time was up" if decision.by == "timeout" else ""
    said = f": {' '.join(decision.message.split())}" if decision.message else ""
    return f"{_DONE[decision.decision]} on {moment(decision.decided_at)} UTC{by}{said}"


def answered_words(step: str, decision: DecisionRecord) -> str:
    """Write why a run goes on, like `step release was approved on …`."""
    return f"step {step} was {decision_words(decision)}"


def count_words(waiting: int) -> str:
    """Write how many runs wait."""
    return f"{plural(waiting, 'run')} {'waits' if waiting == 1 else 'wait'} for approval"


def moment(time: str) -> str:
    """Write an ISO 8601 time up to its seconds, with a blank."""
    return time[:_SECONDS].replace("T", " ")
