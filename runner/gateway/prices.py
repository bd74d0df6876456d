"""What model calls cost: a versioned table of prices, and the price of one call by it.

    version: 3
    currency: USD                          # per million tokens
    vendors:
      - provider: openai
        source: public price page, standard processing, read 2025-10-01
        models:
          - {model: gpt-4o, valid_from: 2024-10-01, input: 2.50, cached: 1.25, output: 10.00}

A name fits with a date or `-latest` behind it, and the longest name that fits counts: `gpt-4o-2024-05-13`, if it stands
there, before `gpt-4o`. Of several prices of one name the youngest counts that was valid on the day of the call.

    cost = (in - cached - written) x input + cached x cached + written x cache_write
           + (out - reasoning) x output + reasoning x reasoning

Cached and newly cached tokens are part of those in, reasoning tokens are part of those out, as in `metering.Usage`. A number
of tokens that nobody stated matters only where it would change the price; there is no price then, and never a guess.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from runner.errors import ConfigError
from runner.gateway.metering import Usage
from runner.spec.base import Spec
from runner.spec.units import Number, Whole

_MILLION = 1_000_000
_DATED = re.compile(r"-(latest|[0-9]{4}|[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})")
"""What vendors put behind a model's name to say which of its versions is meant."""
_DIGITS = 12
"""Of the table's digest, in what is shown."""
_DECIMALS = 10
"""Of a cost in USD: far below a single token of the cheapest model."""


class Price(Spec):
    """Prices of one model, USD per million tokens."""

    model: str = Field(min_length=1, description="Name of the model, with or without a date behind it.")
    valid_from: date = Field(description="First day (UTC) on which these prices hold.")
    input: Number = Field(ge=0, description="Tokens of requests.")
    cached: Number | None = Field(None, ge=0, description="Those the provider had in its cache; by default as input.")
    cache_write: Number | None = Field(None, ge=0, description="Those newly put into it; by default as input.")
    output: Number = Field(ge=0, description="Tokens of answers.")
    reasoning: Number | None = Field(None, ge=0, description="Those of hidden reasoning; by default as output.")
    source: str = Field("", description="Where these prices stand; by default the vendor's.")


class Vendor(Spec):
    """Prices of one vendor."""

    provider: str = Field(min_length=1, description="As in `model.provider`.")
    source: str = Field(min_length=1, description="Where the prices were read, and when.")
    models: tuple[Price, ...] = Field(min_length=1, description="Its models.")

    @model_validator(mode="after")
    def _has_each_once(self) -> Vendor:
        seen: set[tuple[str, date]] = set()
        for one in self.models:
            if (one.model, one.valid_from) in seen:
                raise ValueError(f"{one.model} has two prices from {one.valid_from}")
            seen.add((one.model, one.valid_from))
        return self


class PriceTable(Spec):
    """A table of prices, as it is written."""

    version: Whole = Field(ge=1, description="Goes up with every change; stands beside every cost.")
    currency: Literal["USD"] = Field(description="Currency of every price.")
    vendors: tuple[Vendor, ...] = Field(description="Prices by vendor.")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a call cost; None with a reason if that is not known."""

    usd: float | None
    reason: str = ""
    source: str = ""
    """Table that the price is from, with version and digest; empty if there is no price."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """A table that has been read."""

    table: PriceTable | None = None
    """None: nothing has a price."""
    name: str = ""
    """How messages call it, like config/prices.yaml."""
    sha256: str = ""

    @property
    def source(self) -> str:
        """Return how records name the table: file, version, beginning of its digest."""
        if self.table is None:
            return ""
        return f"{self.name} version {self.table.version}, sha256 {self.sha256[:_DIGITS]}"

    def has_vendor(self, provider: str) -> bool:
        """Tell whether the table has any price of a provider."""
        return self.table is not None and any(vendor.provider == provider for vendor in self.table.vendors)

    def find(self, model: str, provider: str, on: date) -> Price | None:
        """Return the price of a model on a day; None if there is none.

        Args:
            model: name of the model.
            provider: as in `model.provider`; a replayed model may be any vendor's.
            on: day of the call, UTC.
        """
        vendors = self.table.vendors if self.table is not None else ()
        fitting = [
            price
            for vendor in vendors
            if provider in {vendor.provider, "replay"}
            for price in vendor.models
            if price.valid_from <= on and _fits(price.model, model)
        ]
        return max(fitting, key=lambda price: (len(price.model), price.valid_from), default=None)

    def cost(
        self, model_sent: str | None, model_used: str | None, usage: Usage | None, provider: str, on: date | None = None
    ) -> Cost:
        """Return what a call cost.

        Args:
            model_sent: model that was asked for; counts if the provider does not say which one answered.
            model_used: model the provider says answered.
            usage: tokens it stated; None if none.
            provider: as in `model.provider`.
            on: day of the call, UTC; by default today.
        """
        if provider == "scripted":
            return Cost(usd=None, reason="scripted model: it has no price")
        if usage is None:
            return Cost(usd=None, reason="no usage is known")
        if usage.tokens_in == 0 and usage.tokens_out == 0:
            return Cost(usd=0.0, source=self.source)
        model = model_used or model_sent
        if self.table is None or model is None:
            return Cost(usd=None, reason="there is no table of prices" if model else "no model is known")
        price = self.find(model, provider, on or datetime.now(UTC).date())
        if price is None:
            return Cost(usd=None, reason=f"no price for {model} in {Path(self.name).name}")
        return self._priced(price, usage)

    def _priced(self, price: Price, usage: Usage) -> Cost:
        """Price the whole, and its parts by how much their price differs from that of the whole."""
        parts = (
            ("tokens of the request", usage.tokens_in, price.input),
            ("cached tokens", usage.tokens_cached, _more(price.cached, price.input)),
            ("newly cached tokens", usage.tokens_cache_written, _more(price.cache_write, price.input)),
            ("tokens of the answer", usage.tokens_out, price.output),
            ("reasoning tokens", usage.tokens_reasoning, _more(price.reasoning, price.output)),
        )
        missing = [words for words, tokens, rate in parts if tokens is None and rate]
        if missing:
            return Cost(usd=None, reason=f"not stated: {', '.join(missing)}")
        if _contradicts(usage):
            return Cost(usd=None, reason="the stated usage contradicts itself: a part is larger than the whole")
        total = sum((tokens or 0) * rate for _, tokens, rate in parts)
        return Cost(usd=round(total / _MILLION, _DECIMALS), source=self.source)


NO_PRICES = Prices()
"""Without a table nothing has a price."""


def load_prices(path: Path | None) -> Prices:
    """Read a table of prices; without one nothing has a price.

    Raises:
        ConfigError: if it cannot be read or does not follow the format, with file and line.
    """
    if path is None:
        return NO_PRICES
    from runner.spec.validate import validate
    from runner.spec.yaml import load_yaml

    table = validate(load_yaml(path), PriceTable)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), hint="check name and rights") from error
    return Prices(table=table, name="/".join(path.parts[-2:]), sha256=digest)


def _fits(pattern: str, model: str) -> bool:
    return model == pattern or (model.startswith(pattern) and _DATED.fullmatch(model, len(pattern)) is not None)


def _more(own: float | None, whole: float) -> float:
    """Return how much more a part costs than the whole it belongs to; without a price of its own it costs the same."""
    return 0.0 if own is None else own - whole


def _contradicts(usage: Usage) -> bool:
    kept = (usage.tokens_cached or 0) + (usage.tokens_cache_written or 0)
    too_many_in = usage.tokens_in is not None and kept > usage.tokens_in
    return too_many_in or (usage.tokens_out is not None and (usage.tokens_reasoning or 0) > usage.tokens_out)
