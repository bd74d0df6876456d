"""A run's README: what happened, for a person who opens the directory, with relative links and what to type next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.evidence.markdown import DASH, table, text, value
from runner.evidence.metrics import MetricsReport
from runner.evidence.readings import UNITS
from runner.evidence.readme_steps import steps_section
from runner.evidence.records import METRIC_NAMES, Outcome, RunRecord
from runner.evidence.verdicts import CheckVerdict, tally
from runner.plan.models import Run

_VERDICTS: dict[Outcome, str] = {
    "passed": "passed",
    "failed": "failed: the framework's doing",
    "timed_out": "timed out: a time limit passed",
    "exceeded": "exceeded: a limit or budget was used up",
    "broken": "broken: the runner's or the machine's doing, not the framework's",
    "cancelled": "cancelled by the user",
    "skipped": "skipped",
}


def render_readme(record: RunRecord, metrics: MetricsReport, verdicts: Sequence[CheckVerdict] = ()) -> str:
    """Return the README of a run as Markdown.

    Args:
        record: the finished record; texts in it may come from the framework and are escaped.
        metrics: the run's metrics.
        verdicts: what checks said of what was built.
    """
    run = record.run
    unfinished = "waits for approval" if record.suspended else "not finished"
    verdict = _VERDICTS[record.outcome] if record.outcome else unfinished
    lines = [
        f"# {text(run.framework.name)} on {text(run.scenario)}, repetition {run.repetition}",
        "",
        f"**{verdict}**" + (f" {DASH} {text(record.reason)}" if record.reason else ""),
        "",
        *_open(record.run),
        *_model(record),
        f"- run `{run.id}` of experiment {text(run.experiment)}, seed {run.seed}",
        *_ancestry(run),
        f"- digest `{run.digest or 'none'}`",
        f"- image `{run.image.tag}` (`{run.image.id or 'none'}`)",
        f"- started {record.started_at}, finished {record.finished_at or DASH}",
        _host(record),
        "",
        *steps_section(record, metrics),
        *_checks(verdicts),
        *_numbers(metrics),
        *_notes(record.notes),
        *_places(record, judged=bool(verdicts)),
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
    return f"- {text(host.operating_system)}, {engine}, runner {host.runner_version}"


def _model(record: RunRecord) -> list[str]:
    model = record.run.model
    if model is None:
        ways = {step.network for step in record.run.steps}
        return ["- model: none" + ("; its steps have no way out of their containers" if ways == {"none"} else "")]
    if model.provider == "scripted":
        words = "the answers were prepared, no language model took part: the numbers below say nothing about one"
        return [f"> **SCRIPTED MODEL** ({text(record.model_label)}): {words}.", ""]
    return [f"- model: **{text(record.model_label)}**"]


def _ancestry(run: Run) -> list[str]:
    parent = run.parent
    if parent is None:
        return []
    return [f"- forked from `{parent.run}@{parent.step}`" + (f": {text(parent.note)}" if parent.note else "")]


def _open(run: Run) -> list[str]:
    notes = [note.removeprefix("not hermetic: ") for note in not_hermetic(run)]
    return [line for note in notes for line in (f"> **NOT HERMETIC**: {text(note)}.", "")]


def _numbers(metrics: MetricsReport) -> list[str]:
    rows = []
    for name in METRIC_NAMES:
        about = metrics.about[name]
        how = f"{about.source}, {'exact' if about.exact else about.status}" if about.source != "none" else "unmeasured"
        rows.append((name, value(UNITS[name], metrics.totals[name]), how, text(about.reason)))
    return ["## Numbers", "", *table(("metric", "value", "how", "remark"), rows, left=1), ""]


def _checks(verdicts: Sequence[CheckVerdict]) -> list[str]:
    if not verdicts:
        return []
    rows = [
        (
            text(one.check),
            text(one.step),
            "not judged" if one.verdict == "unjudged" else one.verdict,
            str(tally([one])) if one.passed or one.failed else DASH,
            text(one.reason),
        )
        for one in verdicts
    ]
    head = ("check", "after", "verdict", "assertions", "remark")
    return ["## Checks", "", f"checks: {tally(verdicts)}", "", *table(head, rows, left=len(head)), ""]


def _notes(notes: Iterable[str]) -> list[str]:
    lines = [f"- {text(note)}" for note in notes]
    return ["## Notes", "", *lines, ""] if lines else []


def _places(record: RunRecord, *, judged: bool) -> list[str]:
    places = [
        ("[generated_artifacts/](generated_artifacts/)", "the workspace at the end"),
        ("[steps/](steps/)", "prompt, logs, record and metrics of each step; earlier attempts under `attempts/`"),
        ("[metadata.json](metadata.json)", "the record: inputs, digests, timings, outcome"),
        ("[metrics.json](metrics.json)", "every number, with unit, source and status"),
        ("[metrics.csv](metrics.csv)", "the same as one long table, of attempts and phases too"),
        ("[logs/run.log](logs/run.log)", "what happened when, as JSON lines"),
        ("[state/](state/)", "what the framework kept for itself: HOME, caches"),
    ]
    if judged:
        places.append(("[checks.json](checks.json)", "what checks came to; each with its evidence in `steps/`"))
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
    lines += [f"runner {verb} {run}@{one.step}" for one in record.suspended for verb in ("approve", "reject")]
    if record.archive:
        lines.append(f"sha256sum -c {record.archive}.sha256")
    return ["## Look closer", "", "```console", *(f"$ {line}" for line in lines), "```", ""]
