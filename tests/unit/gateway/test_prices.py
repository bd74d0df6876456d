"""What a call costs, and why some have no price."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.gateway.metering import NOTHING, Usage
from runner.gateway.prices import NO_PRICES, Prices, load_prices

TABLE = """\
version: 7
currency: USD
vendors:
  - provider: openai
    source: a price list
    models:
      - {model: big, valid_from: 2025-01-01, input: 10, cached: 1, output: 100}
      - {model: big, valid_from: 2025-06-01, input: 2, cached: 1, output: 8, reasoning: 4}
      - {model: big-2024-05-13, valid_from: 2025-01-01, input: 5, output: 15}
      - {model: big-mini, valid_from: 2025-01-01, input: 0.5, output: 1}
      - {model: embed, valid_from: 2025-01-01, input: 0.02, output: 0}
  - provider: anthropic
    source: another price list
    models:
      - {model: claude, valid_from: 2025-01-01, input: 3, cached: 0.3, cache_write: 3.75, output: 15}
"""
LATE = date(2026, 1, 1)
PLAIN = Usage(tokens_in=1000, tokens_out=100, tokens_cached=0, tokens_cache_written=0, tokens_reasoning=0)


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    """Return a small table."""
    return load_prices(write(tmp_path, TABLE))


def write(folder: Path, text: str) -> Path:
    """Write a table."""
    path = folder / "config" / "prices.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_each_kind_of_token_has_its_price_once(prices: Prices) -> None:
    """Cached tokens are taken out of those in, reasoning out of those out, and nothing is paid twice."""
    usage = Usage(tokens_in=1000, tokens_out=100, tokens_cached=600, tokens_cache_written=0, tokens_reasoning=30)
    assert prices.cost("big", None, usage, "openai", LATE).usd == pytest.approx(
        (400 * 2 + 600 * 1 + 70 * 8 + 30 * 4) / 1e6, abs=1e-12
    )


def test_newly_cached_tokens_have_their_price(prices: Prices) -> None:
    """What is written to a cache costs more than other input, what is read from it less."""
    usage = Usage(tokens_in=1000, tokens_out=10, tokens_cached=300, tokens_cache_written=500)
    assert prices.cost("claude", None, usage, "anthropic", LATE).usd == pytest.approx(
        (200 * 3 + 300 * 0.3 + 500 * 3.75 + 10 * 15) / 1e6, abs=1e-12
    )


@pytest.mark.parametrize(
    ("model", "per_million"),
    [
        ("big", 2),
        ("big-latest", 2),
        ("big-2025-08-06", 2),
        ("big-20250806", 2),
        ("big-0806", 2),
        ("big-2024-05-13", 5),
        ("big-mini", 0.5),
        ("big-mini-2025-01-01", 0.5),
    ],
)
def test_longest_name_that_fits_counts(prices: Prices, model: str, per_million: float) -> None:
    """A name fits with a date behind it, and a longer entry is stronger than a shorter one."""
    usage = Usage(tokens_in=1_000_000, tokens_out=0, tokens_cached=0, tokens_reasoning=0)
    assert prices.cost(model, None, usage, "openai", LATE).usd == per_million


@pytest.mark.parametrize("model", ["bigger", "big-micro", "big-mini-x", "Big", "x-big", "big-", "big-08061"])
def test_unknown_model_costs_null(prices: Prices, model: str) -> None:
    """A name that only begins like a known one has no price, and the reason names it."""
    cost = prices.cost(model, None, PLAIN, "openai", LATE)
    assert (cost.usd, cost.reason, cost.source) == (None, f"no price for {model} in prices.yaml", "")


@pytest.mark.parametrize(
    ("day", "per_million"), [("2025-01-01", 10), ("2025-05-31", 10), ("2025-06-01", 2), ("2026-01-01", 2)]
)
def test_price_is_that_of_the_day(prices: Prices, day: str, per_million: float) -> None:
    """Of several prices of one model, the youngest that was valid on the day counts."""
    usage = Usage(tokens_in=1_000_000, tokens_out=0, tokens_cached=0, tokens_reasoning=0)
    assert prices.cost("big", None, usage, "openai", date.fromisoformat(day)).usd == per_million


def test_no_price_before_the_first_day(prices: Prices) -> None:
    """A price says nothing of the time before it."""
    assert prices.cost("big", None, PLAIN, "openai", date(2024, 12, 31)).usd is None


def test_model_that_answered_counts(prices: Prices) -> None:
    """What the provider says it used is priced, not what it was asked for."""
    assert prices.cost("big", "big-2024-05-13", PLAIN, "openai", LATE).usd == 0.0065
    assert prices.cost("big", "other", PLAIN, "openai", LATE).reason == "no price for other in prices.yaml"


def test_vendors_are_kept_apart(prices: Prices) -> None:
    """A model of the same name elsewhere has no price; a replayed one may be any vendor's."""
    assert prices.cost("claude", None, PLAIN, "openai", LATE).usd is None
    assert prices.cost("claude", None, PLAIN, "replay", LATE).usd == 0.0045


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        (None, "no usage is known"),
        (Usage(tokens_in=5), "not stated: cached tokens, tokens of the answer, reasoning tokens"),
        (Usage(tokens_in=5, tokens_out=5), "not stated: cached tokens, reasoning tokens"),
        (
            Usage(tokens_in=5, tokens_out=5, tokens_cached=6, tokens_reasoning=0),
            "the stated usage contradicts itself: a part is larger than the whole",
        ),
        (
            Usage(tokens_in=5, tokens_out=5, tokens_cached=0, tokens_reasoning=6),
            "the stated usage contradicts itself: a part is larger than the whole",
        ),
    ],
)
def test_price_is_never_guessed(prices: Prices, usage: Usage | None, reason: str) -> None:
    """Where a number that matters was not stated, there is no cost but a reason."""
    cost = prices.cost("big", None, usage, "openai", LATE)
    assert (cost.usd, cost.reason) == (None, reason)


def test_numbers_that_do_not_matter_may_be_unknown(prices: Prices) -> None:
    """Where cached tokens cost as much as others, nobody has to state them."""
    assert prices.cost("big-mini", None, Usage(tokens_in=10, tokens_out=10), "openai", LATE).usd == 0.000015
    assert prices.cost("embed", None, Usage(tokens_in=1000), "openai", LATE).usd == 0.00002


def test_scripted_model_has_no_price(prices: Prices) -> None:
    """Whatever its name is, the scripted model costs null and says why."""
    assert prices.cost("big", "big", PLAIN, "scripted", LATE).reason == "scripted model: it has no price"


def test_call_without_tokens_costs_nothing(prices: Prices) -> None:
    """Counting tokens is free, with any model and without a table."""
    assert prices.cost("other", None, NOTHING, "anthropic", LATE).usd == 0.0
    assert NO_PRICES.cost("other", None, NOTHING, "anthropic").usd == 0.0


def test_without_a_table_nothing_has_a_price() -> None:
    """No table, no cost, and that is the reason."""
    assert load_prices(None).cost("big", None, PLAIN, "openai").reason == "there is no table of prices"


def test_cost_names_its_table(prices: Prices, tmp_path: Path) -> None:
    """Each cost says which version of which file it is from; another content shows in the digest."""
    source = prices.cost("big", None, PLAIN, "openai", LATE).source
    assert source.startswith("config/prices.yaml version 7, sha256 ")
    other = load_prices(write(tmp_path, TABLE.replace("100}", "99}")))
    assert other.source != source


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cached: 1, output: 100", "cache: 1, output: 100", "prices.yaml:7: unknown key `cache`"),
        ("input: 10", "input: -1", "prices.yaml:7: vendors.1.models.1.input: `-1` is too small"),
        ("valid_from: 2025-06-01", "valid_from: 2025-01-01", "big has two prices from 2025-01-01"),
        ("version: 7", "version: 0", "prices.yaml:1: version"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A table that does not follow the format is refused, with file and line."""
    with pytest.raises(ConfigError) as caught:
        load_prices(write(tmp_path, TABLE.replace(old, new, 1)))
    assert message in str(caught.value)


def test_the_projects_own_table_can_be_read() -> None:
    """The table that comes with the project is valid, and knows well-known models of both vendors."""
    table = load_prices(Path(__file__).parents[3] / "config" / "prices.yaml")
    assert table.cost("gpt-4o", "gpt-4o-2024-08-06", PLAIN, "openai", LATE).usd == 0.0035
    assert table.cost(None, "claude-sonnet-4-20250514", PLAIN, "anthropic", LATE).usd == 0.0045
    assert table.cost(None, "claude-opus-4-1-20250805", PLAIN, "anthropic", LATE).usd == 0.0225
