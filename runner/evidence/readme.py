"""A run's README: what happened, for a person who opens the directory, with relative links and what to type next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from runner.evidence.logs import escape
from runner.evidence.metrics import MetricsReport
from runner.evidence.readings import UNITS, Number
from runner.evidence.records import METRIC_NAMES, Outcome, RunRecord, StepRecord
from runner.plan.models import Run

_DASH = "\N{EN DASH}"
"""A value that was not measured; never 0."""
_VERDICTS: dict[Outcome, str] = {
    "passed": "passed",
    "failed": "failed: the framework's doing",
    "timed_out": "timed out: a time limit passed",
    "exceeded": "exceeded: a limit or budget was used up",
    "broken": "broken: the runner's or the machine's doing, not the framework's",
    "cancelled": "cancelled by the user",
    "skipped": "skipped",
}
_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&$])")
_KIB = 1024.0


def render_readme(record: RunRecord, metrics: MetricsReport) -> str:
    """Return the README of a run as Markdown.

    Args:
        record: the finished record; texts in it may come from the framework and are escaped.
        metrics: the run's metrics.
    """
    run = record.run
    verdict = _VERDICTS[record.outcome] if record.outcome else "not finished"
    lines = [
        f"# {_text(run.framework.name)} on {_text(run.scenario)}, repetition {run.repetition}",
        "",
        f"**{verdict}**" + (f" {_DASH} {_text(record.reason)}" if record.reason else ""),
        "",
        *_open(record.run),
        *_model(record),
        f"- run `{run.id}` of experiment {_text(run.experiment)}, seed {run.seed}",
        f"- digest `{run.digest or 'none'}`",
        f"- image `{run.image.tag}` (`{run.image.id or 'none'}`)",
        f"- started {record.started_at}, finished {record.finished_at or _DASH}",
        _host(record),
        "",
        *_steps(record, metrics),
        *_numbers(metrics),
        *_notes(record.notes),
        *_places(record),
        *_commands(record),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def not_hermetic(run: Run) -> tuple[str, ...]:
    """Return the note of a run whose steps could reach anything; none if every way out was known."""
    steps = [step.id for step in run.steps if step.network == "open"]
    if not steps:
        return ()
    unseen = "what was reached there is not recorded, and results may not be had again"
    return (f"not hermetic: network was open in {', '.join(steps)}; {unseen}",)


def _host(record: RunRecord) -> str:
    host = record.host
    engine = f"engine {host.engine_version}, cgroup {host.cgroup}"
    return f"- {_text(host.operating_system)}, {engine}, runner {host.runner_version}"


def _model(record: RunRecord) -> list[str]:
    model = record.run.model
    if model is None:
        ways = {step.network for step in record.run.steps}
        return ["- model: none" + ("; its steps have no way out of their containers" if ways == {"none"} else "")]
    if model.provider == "scripted":
        words = "the answers were prepared, no language model took part: the numbers below say nothing about one"
        return [f"> **SCRIPTED MODEL** ({_text(record.model_label)}): {words}.", ""]
    return [f"- model: **{_text(record.model_label)}**"]


def _open(run: Run) -> list[str]:
    notes = [note.removeprefix("not hermetic: ") for note in not_hermetic(run)]
    return [line for note in notes for line in (f"> **NOT HERMETIC**: {_text(note)}.", "")]


def _steps(record: RunRecord, metrics: MetricsReport) -> list[str]:
    measured = {str(one["step"]): one for one in metrics.per_step}
    rows = [_step_row(step, measured.get(step.id, {})) for step in record.steps]
    head = ("step", "outcome", "time", "tokens in", "tokens out", "changed files", "attempts", "logs")
    return ["## Steps", "", *_table(head, rows, left=2), "", *_reasons(record.steps)]


def _step_row(step: StepRecord, numbers: Mapping[str, str | Number | None]) -> tuple[str, ...]:
    folder = f"steps/step_{step.index:03d}"
    logs = f"[out]({folder}/stdout.log) [err]({folder}/stderr.log)" if step.attempts else _DASH
    return (
        f"{step.index}. {_text(step.id)}",
        step.outcome.replace("_", " "),
        _value("seconds", numbers.get("wall_seconds")),
        _value("tokens", numbers.get("tokens_in")),
        _value("tokens", numbers.get("tokens_out")),
        _value("files", step.changed_files),
        str(len(step.attempts)),
        logs,
    )


def _reasons(steps: Iterable[StepRecord]) -> list[str]:
    lines = [f"- {_text(step.id)}: {_text(step.reason)}" for step in steps if step.reason]
    return [*lines, ""] if lines else []


def _numbers(metrics: MetricsReport) -> list[str]:
    rows = []
    for name in METRIC_NAMES:
        about = metrics.about[name]
        how = f"{about.source}, {'exact' if about.exact else about.status}" if about.source != "none" else "unmeasured"
        rows.append((name, _value(UNITS[name], metrics.totals[name]), how, _text(about.reason)))
    return ["## Numbers", "", *_table(("metric", "value", "how", "remark"), rows, left=1), ""]


def _notes(notes: Iterable[str]) -> list[str]:
    lines = [f"- {_text(note)}" for note in notes]
    return ["## Notes", "", *lines, ""] if lines else []


def _places(record: RunRecord) -> list[str]:
    places = [
        ("[generated_artifacts/](generated_artifacts/)", "the workspace at the end"),
        ("[steps/](steps/)", "prompt, logs, record and metrics of each step; earlier attempts under `attempts/`"),
        ("[metadata.json](metadata.json)", "the record: inputs, digests, timings, outcome"),
        ("[metrics.json](metrics.json)", "every number, with unit, source and status"),
        ("[logs/run.log](logs/run.log)", "what happened when, as JSON lines"),
        ("[state/](state/)", "what the framework kept for itself: HOME, caches"),
    ]
    if record.run.model is not None:
        places.append(("[llm/calls.jsonl](llm/calls.jsonl)", "every model call"))
    if record.run.packages is not None or any(step.allow for step in record.run.steps):
        places.append(
            ("[llm/connections.jsonl](llm/connections.jsonl)", "every other connection that went out, if any")
        )
    if record.archive:
        digest = f"[sha256]({record.archive}.sha256)"
        places.append((f"[{record.archive}]({record.archive})", f"all of this in one deterministic archive; {digest}"))
    return ["## Where things are", "", *(f"- {link}: {what}" for link, what in places), ""]


def _commands(record: RunRecord) -> list[str]:
    run = record.run.id
    bad = next((step for step in record.steps if step.outcome not in {"passed", "skipped"}), None)
    lines = [f"runner show {run}", f"runner logs {run}" + (f"@{bad.id}" if bad else "")]
    if record.archive:
        lines.append(f"sha256sum -c {record.archive}.sha256")
    return ["## Look closer", "", "```console", *(f"$ {line}" for line in lines), "```", ""]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, left: int) -> list[str]:
    """Return a Markdown table whose first `left` columns are left-aligned."""
    rule = [":---" if number < left else "---:" for number in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, tuple(rule), *rows)]


def _value(unit: str, value: str | Number | None) -> str:
    if value is None or isinstance(value, str):
        return _DASH
    match unit:
        case "seconds":
            return f"{value:,.2f} s"
        case "bytes":
            return _size(float(value))
        case "USD":
            return f"{value:,.4f} USD"
        case _:
            return f"{value:,}"


def _size(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:,.0f} B" if unit == "B" else f"{value:,.1f} {unit}"
        value /= _KIB
    return f"{value:,.1f} TiB"


def _text(text: str) -> str:
    """Return text on one line that neither a terminal nor a Markdown viewer takes for more than text."""
    return _MARKUP.sub(r"\\\1", escape(text))
