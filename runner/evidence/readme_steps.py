"""The steps in a run's README: a table, and what is to be said of single ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.evidence.markdown import DASH, table, text, value
from runner.evidence.metrics import MetricsReport
from runner.evidence.readings import Number
from runner.evidence.records import DecisionRecord, RunRecord, StepRecord
from runner.plan.graph import dependencies, is_linear

_TOLERATED = {"failed", "timed_out", "exceeded"}


def steps_section(record: RunRecord, metrics: MetricsReport) -> list[str]:
    """Return the section, with what each step comes after if they are more than a list.

    Args:
        record: the run's record; texts in it may come from the framework.
        metrics: the run's metrics.
    """
    measured = {str(one["step"]): one for one in metrics.per_step}
    graph = not is_linear(record.run.steps)
    after = dependencies(record.run.steps) if graph else {}
    head = ["step", "outcome", "time", "tokens in", "tokens out", "changed files", "attempts", "logs"]
    rows = [_row(step, measured.get(step.id, {})) for step in record.steps]
    if graph:
        head[1:1] = ["kind", "after"]
        for step, row in zip(record.steps, rows, strict=True):
            row[1:1] = [step.kind, text(", ".join(after.get(step.id, ()))) or DASH]
    if any(one.get("crud_effectiveness") is not None for one in measured.values()):
        head.insert(-2, "crud")
        for step, row in zip(record.steps, rows, strict=True):
            row.insert(-2, value("share", measured.get(step.id, {}).get("crud_effectiveness")))
    left = 4 if graph else 2
    details = list(_details(record))
    return ["## Steps", "", *table(tuple(head), [tuple(row) for row in rows], left=left), "", *details]


def _row(step: StepRecord, numbers: Mapping[str, str | Number | None]) -> list[str]:
    folder = f"steps/step_{step.index:03d}"
    contained = any(one.container for one in step.attempts)
    logs = f"[out]({folder}/stdout.log) [err]({folder}/stderr.log)" if contained else DASH
    return [
        f"{step.index}. {text(step.id)}",
        step.outcome.replace("_", " "),
        value("seconds", numbers.get("wall_seconds")),
        value("tokens", numbers.get("tokens_in")),
        value("tokens", numbers.get("tokens_out")),
        value("files", step.changed_files),
        str(len(step.attempts)),
        logs,
    ]


def _details(record: RunRecord) -> Iterator[str]:
    lines = [f"- {text(step.id)}: {words}" for step in record.steps for words in _words(step)]
    for one in record.suspended:
        ends = f"; after {one.until} it counts as {_DONE[one.default]}" if one.until else ""
        lines.append(f"- {text(one.step)} waits for approval since {one.asked_at}: {text(one.message)}{ends}")
    if lines:
        yield from (*lines, "")


def _words(step: StepRecord) -> Iterator[str]:
    folder = f"steps/step_{step.index:03d}"
    if step.reason and step.decision is None:
        tolerated = not step.counts and step.outcome in _TOLERATED
        yield text(step.reason) + ("; the run goes on without it" if tolerated else "")
    if step.decision is not None:
        yield _decided(step.decision)
    if step.conflicts:
        paths = ", ".join(text(one) for one in step.conflicts)
        yield f"conflicts in {paths}; both sides are in [conflicts]({folder}/conflicts/)"
    if step.inputs:
        yield "takes " + ", ".join(f"[{text(one.name)}]({folder}/{one.path})" for one in step.inputs)
    if step.outputs:
        yield "gives " + ", ".join(f"[{text(one.name)}]({folder}/{one.path})" for one in step.outputs)
    for one in step.answers:
        answer = f"answer sha256 `{one.answer_sha256}`" if one.answer_sha256 else "no answer fitted"
        yield f"asked: {text(one.question)} ({answer})"


_DONE = {"approve": "approved", "reject": "rejected"}


def _decided(decision: DecisionRecord) -> str:
    by = " because its time was up" if decision.by == "timeout" else ""
    said = f": {text(decision.message)}" if decision.message else ""
    asked = f" (asked: {text(decision.question)})" if decision.question else ""
    return f"{_DONE[decision.decision]} at {decision.decided_at}{by}{said}{asked}"
