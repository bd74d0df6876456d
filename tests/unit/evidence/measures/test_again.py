"""A run's numbers with what it was judged to be later."""

from __future__ import annotations

from typing import Any

from support.verdicts import Judged, said

from runner.evidence.measures.again import judged_again

METRICS: dict[str, Any] = {
    "tokens_in": 10,
    "crud_effectiveness": None,
    "automation_rate": 0.5,
    "per_step": [
        {"step": "a", "index": 1, "tokens_in": 4, "crud_effectiveness": None},
        {"step": "b", "index": 2, "tokens_in": 6, "crud_effectiveness": None},
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
