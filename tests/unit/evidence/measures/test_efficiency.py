"""Quality per token and per dollar, hand-computed."""

from __future__ import annotations

from runner.evidence.measures.efficiency import efficiency
from runner.evidence.readings import Reading, unmeasured

QUALITY = Reading(value=0.75, source="checks", status="derived")
COST = Reading(value=0.5, source="prices", exact=False, status="derived", reason="tokens times list price")


def _tokens(*values: int | None) -> list[tuple[str, Reading]]:
    return [
        ("step a", unmeasured("not stated") if one is None else Reading(value=one, source="gateway")) for one in values
    ]


def test_quality_per_thousand_tokens_and_per_dollar() -> None:
    """0.75 for 1,500 tokens is 0.5 per thousand, and for half a dollar 1.5 per dollar."""
    found = efficiency(QUALITY, _tokens(1000, 500), COST)
    assert (found["quality_per_token"].value, found["quality_per_dollar"].value) == (0.5, 1.5)
    assert found["quality_per_token"].source == "checks+gateway"
    assert (found["quality_per_dollar"].exact, found["quality_per_dollar"].status) == (False, "derived")


def test_no_quality_has_no_price() -> None:
    """Without a quality both are null for its reason; 0 quality is 0."""
    found = efficiency(unmeasured("nobody judged"), _tokens(10), COST)
    assert {one.reason for one in found.values()} == {"nobody judged"}
    none = efficiency(Reading(value=0, source="checks"), _tokens(10), COST)
    assert [one.value for one in none.values()] == [0, 0]


def test_unknown_or_no_spending_divides_nothing() -> None:
    """Tokens that are not all known, and a cost of 0, give null and why."""
    found = efficiency(QUALITY, _tokens(10, None), Reading(value=0, source="runner"))
    assert found["quality_per_token"].reason == "step a: not stated"
    assert found["quality_per_dollar"].reason == "it cost nothing, so there is nothing to divide by"
    assert [one.value for one in found.values()] == [None, None]


def test_a_partial_quality_stays_partial() -> None:
    """The quotient is as weak as its weaker part."""
    partial = Reading(value=0.5, source="checks", exact=False, status="partial", reason="2 of 4 not judged")
    found = efficiency(partial, _tokens(1000), COST)["quality_per_token"]
    assert (found.value, found.status, found.exact, found.reason) == (0.5, "partial", False, "2 of 4 not judged")
