"""What quality costs: how much of it there is per token and per dollar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.evidence.readings import Reading, combine, unmeasured

_TOKENS = 1000
"""Tokens that quality is told per: a single one buys next to nothing."""


def efficiency(quality: Reading, tokens: Sequence[tuple[str, Reading]], cost: Reading) -> Mapping[str, Reading]:
    """Return quality_per_token and quality_per_dollar.

    Args:
        quality: crud_effectiveness of what there is in the end.
        tokens: what every token of it is counted in, and where: tokens_in and tokens_out of all that led there.
        cost: of the same, USD.
    """
    spent = combine(tokens, sum) if tokens else unmeasured("no step was performed")
    return {
        "quality_per_token": _per(quality, spent, _TOKENS, "no token was used"),
        "quality_per_dollar": _per(quality, cost, 1, "it cost nothing"),
    }


def _per(quality: Reading, spent: Reading, unit: int, nothing: str) -> Reading:
    """Return a quotient, as weak as its weaker part; null if a part is null or nothing was spent."""
    missing = next((one for one in (quality, spent) if one.value is None), None)
    if missing is not None:
        return unmeasured(missing.reason)
    if not spent.value or quality.value is None:
        return unmeasured(f"{nothing}, so there is nothing to divide by")
    return Reading(
        value=quality.value / spent.value * unit,
        source=f"{quality.source}+{spent.source}",
        exact=quality.exact and spent.exact,
        status="partial" if "partial" in {quality.status, spent.status} else "derived",
        reason="; ".join(dict.fromkeys(one.reason for one in (quality, spent) if one.reason)),
    )
