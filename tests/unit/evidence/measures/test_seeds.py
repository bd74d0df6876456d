"""A run under the names of the earlier experiment, by that experiment's own formulas, hand-computed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from runner.evidence.measures.seeds import NAMES, manifest, seeds_metrics, seeds_values, unmeasured
from runner.evidence.records import AnswerUse, RunRecord

METRICS: dict[str, Any] = {
    "steps_total": 6,
    "human_interventions": 2,
    "automation_rate": 5 / 6,
    "tokens_in": 999,
    "tokens_out": 50,
    "api_calls": 18,
    "tokens_cached": 0,
    "wall_seconds": 206.5,
    "crud_effectiveness": 0.75,
    "endpoint_success": 0.5,
    "availability": 0.5,
    "cost_usd": 0.25,
    "per_step": [{"availability": one} for one in (1, 0, None, 0, 1)],
}


def test_every_name_is_there_and_computed_as_they_did() -> None:
    """CRUDe of 12, two of four judged states down, no continuity, Q* of 0.4 x 0.5 + 0.3 x 0.75, AEI by the logarithm."""
    found = seeds_values(METRICS)
    assert tuple(found) == NAMES
    same = ("UTT", "HIT", "HEU", "TOK_IN", "TOK_OUT", "API_CALLS", "CACHED_TOKENS", "T_WALL_seconds", "CRUDe", "ESR")
    assert [found[name] for name in same] == [6, 2, 6, 999, 50, 18, 0, 206.5, 9, 0.5]
    assert (found["ZDI"], found["MC"], found["COST_USD"]) == (2, 0.0, 0.25)
    assert found["Q_star"] == pytest.approx(0.2 + 0.225)
    assert found["AEI"] == pytest.approx(5 / 6 / math.log(1000))
    assert unmeasured(METRICS) == {}


def test_always_up_is_continuous() -> None:
    """Without an incident there is continuity, and Q* of a perfect run is 1."""
    perfect = {"crud_effectiveness": 1, "endpoint_success": 1, "availability": 1, "per_step": [{"availability": 1}]}
    found = seeds_values({**METRICS, **perfect})
    assert (found["ZDI"], found["MC"]) == (0, 1.0)
    assert found["Q_star"] == pytest.approx(1)


def test_what_was_not_measured_is_left_out_with_its_reason() -> None:
    """Their scripts take every value for a number, so that neither null nor 0 may stand there."""
    about = {"cost_usd": {"reason": "scripted model: it has no price"}}
    metrics = {**METRICS, "cost_usd": None, "crud_effectiveness": None, "tokens_in": 0, "about": about}
    found = seeds_values(metrics)
    assert {"COST_USD", "CRUDe", "Q_star", "AEI"}.isdisjoint(found)
    assert unmeasured(metrics) == {
        "CRUDe": "crud_effectiveness: not measured",
        "Q_star": "crud_effectiveness: not measured",
        "AEI": "nothing it could be computed from",
        "COST_USD": "cost_usd: scripted model: it has no price",
    }


def test_a_run_in_their_layout(record: RunRecord) -> None:
    """Steps with durations and counts, totals, and a word for tokens that can be relied on."""
    answer = AnswerUse(question="?", answer_sha256="0" * 64)
    asked = record.steps[0].model_copy(update={"answers": (answer,)})
    content = seeds_metrics(record.model_copy(update={"steps": (asked, *record.steps[1:])}), METRICS)
    steps = json.loads(json.dumps(content))["steps"]
    assert steps[0] == {
        "step": 1,
        "duration_seconds": 2.0,
        "start_timestamp": 1767225600,
        "end_timestamp": 1767225602,
        "hitl_count": 1,
        "retry_count": 0,
        "success": True,
    }
    assert [one["success"] for one in steps] == [True, False]
    assert content["aggregate_metrics"] == seeds_values(METRICS)
    assert content["verification_status"] == "verified"
    assert seeds_metrics(record, {**METRICS, "tokens_out": None})["verification_status"] == "pending"


def test_the_manifest_lists_every_run(record: RunRecord) -> None:
    """With where it is, how many there are of each framework, and null tokens where they are not known."""
    found = manifest([(record, METRICS), (record, {})])
    assert (found["total_runs"], found["frameworks"]) == (2, {"fake": 2})
    first, second = json.loads(json.dumps(found["runs"]))
    assert (first["path"], first["total_tokens_in"]) == ("fake/crud-r1-0123456789", 999)
    assert (second["total_tokens_in"], second["verification_status"]) == (None, "pending")
