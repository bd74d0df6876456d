"""The README tells a person what happened, loudly where it matters."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from runner.engine.protocol import Usage
from runner.evidence.metrics import MeasuredStep, MetricsReport, run_metrics, step_metrics
from runner.evidence.readme import not_hermetic, render_readme
from runner.evidence.records import AnswerUse, AttemptRecord, DecisionRecord, RunRecord, Suspension, ValueRecord
from runner.evidence.tree import TreeScan
from runner.evidence.verdicts import CheckVerdict
from runner.gateway.session import Totals
from runner.spec.model import Model


@pytest.fixture
def metrics(record: RunRecord, attempt: AttemptRecord) -> MetricsReport:
    """Return metrics that fit the record."""
    totals = Totals(
        api_calls=1,
        tokens_in=1234,
        tokens_out=5,
        tokens_cached=0,
        cost_usd=None,
        failed_calls=0,
        unmetered_calls=0,
        last_error="",
    )
    usage = Usage(cpu_seconds=1.0, peak_memory_bytes=3 * 1024**2)
    tree = TreeScan(entries={}, files=2, bytes=2048)
    steps = [
        MeasuredStep(
            step=one.id,
            index=one.index,
            outcome=one.outcome,
            attempts=((attempt, usage, None, totals),),
            tree=tree,
            model=record.run.model,
        )
        for one in record.steps
    ]
    return run_metrics([(one, step_metrics(step)) for one, step in zip(record.steps, steps, strict=True)], tree)


def test_tells_what_happened(record: RunRecord, metrics: MetricsReport) -> None:
    """Outcome and reason come first, then each step with its numbers, then how to look closer."""
    lines = render_readme(record, metrics).splitlines()
    assert lines[0] == "# fake on crud, repetition 1"
    assert lines[2] == "**failed: the framework's doing** \N{EN DASH} step course: exit code 1"
    assert (
        "| 2. course | failed | 2.00 s | 1,234 | 5 | 3 | 1 "
        "| [out](steps/step_002/stdout.log) [err](steps/step_002/stderr.log) |" in lines
    )
    assert "- course: exit code 1" in lines
    assert "| peak_memory_bytes | 3.0 MiB | cgroup, exact |  |" in lines
    assert "$ runner show crud-r1-0123456789" in lines
    assert "$ runner logs crud-r1-0123456789@course" in lines


def test_scripted_model_is_loud(record: RunRecord, metrics: MetricsReport) -> None:
    """A scripted model is announced before any number, and its cost is a dash with the reason."""
    text = render_readme(record, metrics)
    assert text.index("> **SCRIPTED MODEL** (scripted model)") < text.index("## Steps")
    assert "| cost_usd | \N{EN DASH} | unmeasured | step student: attempt 1: scripted model" in text


def test_real_model_is_named(record: RunRecord, metrics: MetricsReport) -> None:
    """A real model is named, and nothing says scripted."""
    run = record.run.model_copy(update={"model": Model(provider="openai", name="gpt")})
    real = record.model_copy(update={"run": run, "model_label": "openai/gpt"})
    text = render_readme(real, metrics)
    assert "- model: **openai/gpt**" in text
    assert "SCRIPTED" not in text


def test_open_network_is_loud(record: RunRecord, metrics: MetricsReport) -> None:
    """A run that could reach anything says so before its numbers and names the steps; others do not."""
    first, second = record.run.steps
    run = record.run.model_copy(update={"steps": (first, second.model_copy(update={"network": "open"}))})
    text = render_readme(record.model_copy(update={"run": run}), metrics)
    assert text.index("> **NOT HERMETIC**: network was open in course; ") < text.index("## Steps")
    assert not_hermetic(record.run) == ()
    assert "NOT HERMETIC" not in render_readme(record, metrics)


def test_a_run_without_a_model_says_whether_it_had_a_way_out(record: RunRecord, metrics: MetricsReport) -> None:
    """No model does not mean no way out: only steps without any are said to have none."""
    closed = record.run.model_copy(update={"model": None})
    text = render_readme(record.model_copy(update={"run": closed}), metrics)
    assert "- model: none; its steps have no way out of their containers" in text
    steps = tuple(step.model_copy(update={"network": "gateway", "allow": ("example.org",)}) for step in closed.steps)
    run = closed.model_copy(update={"steps": steps})
    text = render_readme(record.model_copy(update={"run": run}), metrics)
    assert "- model: none\n" in text
    assert "[llm/connections.jsonl](llm/connections.jsonl)" in text


def test_links_are_relative(record: RunRecord, metrics: MetricsReport) -> None:
    """No link leads out of the run directory."""
    targets = re.findall(r"\]\(([^)]*)\)", render_readme(record, metrics))
    assert targets
    assert not [one for one in targets if one.startswith(("/", "..")) or ":" in one]


def test_text_of_a_framework_is_inert(record: RunRecord, metrics: MetricsReport) -> None:
    """A reason with markup, line ends or terminal sequences stays one line of plain text."""
    evil = record.model_copy(update={"reason": "a|b\n# heading <img> \x1b[2J", "notes": ("`x`",)})
    text = render_readme(evil, metrics)
    assert "a\\|b\\\\n\\# heading \\<img\\> \\\\x1b\\[2J" in text
    assert "- \\`x\\`" in text
    assert "\x1b" not in text


def test_unfinished_run(record: RunRecord, metrics: MetricsReport) -> None:
    """A record without an outcome, archive or steps still gives a page."""
    bare = record.model_copy(update={"outcome": None, "reason": "", "archive": None, "steps": ()})
    text = render_readme(bare, metrics)
    assert "**not finished**" in text
    assert "sha256" not in text.split("## Where things are")[1]


def test_a_graph_has_its_order_values_and_decisions(record: RunRecord, metrics: MetricsReport) -> None:
    """The page of a graph says what comes after what, what was taken and given, asked and decided, and what parted."""
    planned = tuple(one.model_copy(update={"depends_on": ()}) for one in record.run.steps)
    value = ValueRecord(name="plan", type="text", path="outputs/plan", bytes=4, sha256="0" * 64)
    taken = value.model_copy(update={"path": "in/inputs/plan"})
    decision = DecisionRecord(
        decision="reject",
        by="person",
        message="too <slow>",
        question="Go on?",
        asked_at="2026-01-01T00:00:00Z",
        decided_at="2026-01-01T01:00:00Z",
    )
    first, second = record.steps
    steps = (
        first.model_copy(update={"outputs": (value,), "answers": (AnswerUse(question="Which?", answer_sha256=None),)}),
        second.model_copy(
            update={
                "counts": False,
                "inputs": (taken,),
                "conflicts": ("a/b",),
                "depends_on": (first.id,),
            }
        ),
    )
    run = record.run.model_copy(
        update={"steps": (planned[0], planned[1].model_copy(update={"depends_on": (first.id,)}))}
    )
    linear = render_readme(record, metrics)
    assert "| step | outcome |" in linear
    beside = record.model_copy(update={"steps": steps, "run": record.run.model_copy(update={"steps": planned})})
    assert "| step | kind | after | outcome |" in render_readme(beside, metrics)
    whole = record.model_copy(update={"steps": steps, "run": run})
    asked = steps[1].model_copy(update={"kind": "approval", "decision": decision, "reason": "rejected: too <slow>"})
    decided = render_readme(whole.model_copy(update={"steps": (steps[0], asked)}), metrics)
    text = render_readme(whole, metrics)
    assert "- course: exit code 1; the run goes on without it" in text
    assert "- student: gives [plan](steps/step_001/outputs/plan)" in text
    assert "- course: takes [plan](steps/step_002/in/inputs/plan)" in text
    assert "- student: asked: Which? (no answer fitted)" in text
    assert "- course: rejected at 2026-01-01T01:00:00Z: too \\<slow\\> (asked: Go on?)" in decided
    assert decided.count("slow") == 1
    assert "- course: conflicts in a/b; both sides are in [conflicts](steps/step_002/conflicts/)" in text


def test_a_waiting_run_says_what_to_type(record: RunRecord, metrics: MetricsReport) -> None:
    """The page of a suspended run has the question, what counts when nobody answers, and the commands."""
    asked = Suspension(
        step="release",
        index=3,
        message="Go on?",
        asked_at="2026-01-01T00:00:00Z",
        until="2026-01-01T01:00:00Z",
        default="approve",
    )
    update = {"outcome": None, "reason": "", "archive": None, "suspended": (asked,)}
    text = render_readme(record.model_copy(update=update), metrics)
    assert "**waits for approval**" in text
    assert (
        "- release waits for approval since 2026-01-01T00:00:00Z: Go on?; after 2026-01-01T01:00:00Z it counts" in text
    )
    assert "$ runner approve crud-r1-0123456789@release\n$ runner reject crud-r1-0123456789@release" in text


def test_readme_tells_what_checks_came_to(record: RunRecord, metrics: MetricsReport) -> None:
    """Verdicts stand in a table with what they counted; without checks there is no word of them."""
    assert "## Checks" not in render_readme(record, metrics)
    fields = {"check": "a|b", "kind": "tests", "step": "begin", "index": 1, "version": "1"}
    verdicts = [
        CheckVerdict.model_validate({**fields, "passed": 2, "failed": 1}),
        CheckVerdict.model_validate({**fields, "unjudged": 1, "reason": "no image"}),
    ]
    text = render_readme(record, metrics, verdicts)
    assert "checks: 2 of 4, 1 failed, 1 not judged" in text
    assert "| a\\|b | begin | failed | 2 of 3, 1 failed |  |" in text
    assert "| a\\|b | begin | not judged | \N{EN DASH} | no image |" in text
    assert "[checks.json](checks.json)" in text


def test_effectiveness_of_each_step_stands_beside_its_cost(record: RunRecord, metrics: MetricsReport) -> None:
    """Where any step was judged each has its share, or a dash; small numbers and shares are written for people."""
    first, second = metrics.per_step
    judged = replace(metrics, per_step=({**first, "crud_effectiveness": 0.75}, second))
    judged = replace(judged, totals={**metrics.totals, "crud_effectiveness": 0.75, "quality_per_token": 0.0176432})
    text = render_readme(record, judged)
    assert "| changed files | crud | attempts |" in text
    assert "| 1,234 | 5 | 3 | 75 % | 1 |" in text
    assert "| 1,234 | 5 | 3 | \N{EN DASH} | 1 |" in text
    assert "| crud_effectiveness | 75 % |" in text
    assert "| quality_per_token | 0.01764 |" in text
