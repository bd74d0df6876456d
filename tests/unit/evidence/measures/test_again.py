"""A run's numbers with what it was judged to be later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.verdicts import Judged, said

from runner.engine.protocol import Usage
from runner.evidence.judged import index_verdicts, keep_verdict
from runner.evidence.layout import RunLayout
from runner.evidence.measures.again import judged_again, newest_totals
from runner.evidence.measures.autonomy import autonomy
from runner.evidence.measures.of_run import AT_THE_END, AVERAGED, PER_UNIT
from runner.evidence.measures.quality import quality
from runner.evidence.metrics import MeasuredStep, read_totals, run_metrics, step_metrics, with_readings
from runner.evidence.records import AttemptRecord, DecisionRecord, StepRecord

METRICS: dict[str, Any] = {
    "tokens_in": 10,
    "crud_effectiveness": None,
    "automation_rate": 0.5,
    "per_step": [
        {"step": "a", "index": 1, "attempts": 1, "tokens_in": 4, "crud_effectiveness": None},
        {"step": "b", "index": 2, "attempts": 1, "tokens_in": 6, "crud_effectiveness": None},
    ],
    "about": {"tokens_in": {"reason": ""}, "crud_effectiveness": {"reason": "there was no image that judges"}},
}
ALL = ("start", "health", "x.create", "x.read", "x.update", "x.delete")


def test_the_newest_verdicts_stand_in_for_earlier_ones(judged: Judged) -> None:
    """Quality is that of the verdicts, with their reasons; everything else stays."""
    verdicts = [
        judged([*said("passed", *ALL[:4]), *said("failed", *ALL[4:])]),
        judged([*said("passed", "x.create"), *said("failed", "start", "x.read", "x.update", "x.delete")], index=2),
    ]
    found = judged_again(METRICS, verdicts)
    assert [one["crud_effectiveness"] for one in found["per_step"]] == [0.5, 0.25]
    assert [one["tokens_in"] for one in found["per_step"]] == [4, 6]
    names = ("crud_effectiveness", "availability", "carry_forward", "automation_rate", "tokens_in")
    assert [found[name] for name in names] == [0.25, 0.5, 0, 0.5, 10]
    assert found["about"]["crud_effectiveness"]["reason"] == ""
    assert METRICS["crud_effectiveness"] is None


def test_without_verdicts_or_numbers_nothing_is_another(judged: Judged) -> None:
    """What is not there is not made."""
    assert judged_again(METRICS, []) is METRICS
    assert judged_again({}, [judged(said("passed", *ALL))]) == {}


def test_what_quality_costs_goes_with_it(judged: Judged) -> None:
    """Quality per token and per dollar are those of the newest quality, of a step for all that led there."""
    spent = {"attempts": 1, "tokens_out": 0, "cost_usd": 0.5}
    metrics = {
        "tokens_in": 1000,
        "tokens_out": 1000,
        "cost_usd": 2.0,
        "quality_per_token": 9.0,
        "quality_per_dollar": 9.0,
        "per_step": [
            {"step": "a", "index": 1, **spent, "tokens_in": 500},
            {"step": "b", "index": 2, **spent, "tokens_in": 1500},
        ],
    }
    verdicts = [
        judged(said("passed", *ALL)),
        judged([*said("passed", *ALL[:4]), *said("failed", *ALL[4:])], index=2),
    ]
    found = judged_again(metrics, verdicts)
    assert [found[name] for name in ("crud_effectiveness", "quality_per_token", "quality_per_dollar")] == [
        0.5,
        0.25,
        0.25,
    ]
    assert [one["quality_per_token"] for one in found["per_step"]] == [2.0, 0.25]
    assert [one["quality_per_dollar"] for one in found["per_step"]] == [2.0, 0.5]
    unmetered = judged_again({**metrics, "cost_usd": None, "about": {"cost_usd": {"reason": "no price"}}}, verdicts)
    assert unmetered["quality_per_dollar"] is None
    assert unmetered["about"]["quality_per_dollar"]["reason"] == "no price"


def test_a_step_that_was_left_out_has_no_say(judged: Judged, attempt: AttemptRecord, step: StepRecord) -> None:
    """Of a run that ended before its last step, and of one decided by a person, it is what the run's metrics have."""
    verdicts = [
        judged([*said("passed", *ALL[:4]), *said("failed", *ALL[4:])]),
        judged([*said("passed", *ALL[:3]), *said("failed", *ALL[3:])], index=2),
        judged(index=3, reason="step c was skipped"),
    ]
    performed: dict[str, object] = {"attempts": (attempt,)}
    decision = DecisionRecord(decision="approve", by="person", asked_at="", decided_at="")
    decided: dict[str, object] = {"decision": decision, "kind": "approval"}
    changes: dict[str, dict[str, object]] = {"a": performed, "b": decided, "c": {"outcome": "skipped"}}
    records = [
        step.model_copy(update={"id": name, "index": index, **more})
        for index, (name, more) in enumerate(changes.items(), 1)
    ]
    steps = []
    for one in records:
        tried = tuple((each, Usage(), None, None) for each in one.attempts)
        own = step_metrics(
            MeasuredStep(step=one.id, index=one.index, outcome=one.outcome, attempts=tried, tree=None, model=None)
        )
        took_part = one.attempts or one.decision is not None
        later = {**autonomy(one, []), **quality(verdicts, one.index)} if took_part else {}
        steps.append((one, with_readings(own, later)))
    report = run_metrics(steps, None)
    found = judged_again(json.loads(json.dumps(report.content())), verdicts)
    names = (*AT_THE_END, *AVERAGED, *PER_UNIT)
    assert {name: found[name] for name in names} == {name: report.totals[name] for name in names}
    assert found["per_step"] == list(report.per_step)
    assert [found[name] for name in ("crud_effectiveness", "zero_defect", "availability")] == [0.25, 0, 1]


def test_a_run_of_no_step_has_no_quality(judged: Judged) -> None:
    """What was judged of a run none of whose steps was performed is nothing."""
    metrics = {"per_step": [{"step": "a", "index": 1, "attempts": 0, "automation_rate": None}]}
    found = judged_again(metrics, [judged(said("passed", *ALL))])
    assert (found["crud_effectiveness"], found["availability"]) == (None, None)


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return a run directory with numbers."""
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    return RunLayout(tmp_path)


def test_totals_are_those_of_the_newest_verdicts(layout: RunLayout, judged: Judged) -> None:
    """The file stays what it was; what no check has a say in is read from it, and without verdicts everything."""
    before = layout.metrics.read_bytes()
    assert newest_totals(layout) == read_totals(layout.metrics)
    verdict = judged(said("passed", *ALL), index=2)
    keep_verdict(layout, verdict)
    index_verdicts(layout, layout, [verdict])
    found = newest_totals(layout)
    assert (found["crud_effectiveness"], found["tokens_in"], found["automation_rate"]) == (1.0, 10, 0.5)
    assert layout.metrics.read_bytes() == before
    assert found.keys() == read_totals(layout.metrics).keys()


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_numbers_that_cannot_be_read_are_none(layout: RunLayout, judged: Judged, content: str) -> None:
    """Verdicts alone make no totals."""
    verdict = judged(said("passed", *ALL))
    keep_verdict(layout, verdict)
    index_verdicts(layout, layout, [verdict])
    layout.metrics.write_text(content)
    assert set(newest_totals(layout).values()) == {None}
