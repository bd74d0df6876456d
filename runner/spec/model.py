"""The language model of an experiment: who answers, how it is asked, what it may cost, how it is treated."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from runner.spec.base import LONGEST, HintedError, PathText, Spec
from runner.spec.units import Number, Seconds, Whole

ProviderName = Literal["scripted", "openai", "anthropic", "azure", "replay"]


class Sampling(Spec):
    """Sampling parameters sent in every call, whatever a framework asks for; an absent one stays the framework's."""

    temperature: Number | None = Field(None, ge=0, le=2, description="Temperature of every call.")
    top_p: Number | None = Field(None, gt=0, le=1, description="Nucleus sampling's share of every call.")
    seed: Whole | Literal["repetition"] | None = Field(
        None, description="Seed of every call, or `repetition` for each repetition's own; not every provider takes one."
    )
    max_tokens: Whole | None = Field(None, ge=1, description="Longest answer of every call, tokens.")


class Budget(Spec):
    """What model calls may use up; an absent one is not limited. Calls under way when it is reached still count."""

    tokens: Whole | None = Field(None, ge=1, description="Tokens in and out together.")
    calls: Whole | None = Field(None, ge=1, description="Model calls.")
    dollars: Number | None = Field(None, gt=0, description="Cost in US dollars, by the table of prices.")
    call_time: Seconds | None = Field(
        None, gt=0, le=LONGEST, description="Wall time in calls together, without waiting for the provider."
    )


class Budgets(Spec):
    """Budgets; a call beyond one is refused, and the run ends as exceeded."""

    step: Budget = Field(default_factory=Budget, description="For one attempt of one step.")
    run: Budget = Field(default_factory=Budget, description="For all attempts of all steps of one run.")
    experiment: Budget = Field(
        default_factory=Budget, description="For all runs of the experiment, those done before included."
    )


class Traffic(Spec):
    """How the provider is treated; all runs of one `runner go` share these."""

    concurrency: Whole | None = Field(None, ge=1, description="Calls under way at once; by default not limited.")
    requests_per_minute: Whole | None = Field(None, ge=1, description="Calls begun in any minute.")
    tokens_per_minute: Whole | None = Field(None, ge=1, description="Tokens, in and out, used in any minute.")
    retries: Whole = Field(
        5, ge=0, le=100, description="Further tries of a call that met 429, 408, 5xx or no connection."
    )
    backoff: Seconds = Field(1.0, gt=0, le=3600, description="Wait before the first retry; doubles each time.")
    longest_backoff: Seconds = Field(60.0, gt=0, le=3600, description="Longest wait before a retry.")
    pause_after: Whole = Field(
        5, ge=1, description="Failed tries in a row, of all runs, after which calls wait instead of trying."
    )
    pause: Seconds = Field(30.0, gt=0, le=3600, description="How long they wait until one call tries again.")
    patience: Seconds = Field(
        900.0, gt=0, le=LONGEST, description="How long one call waits for the provider in all before it fails."
    )


class Model(Spec):
    """The language model every run of the experiment talks to, through the gateway."""

    provider: ProviderName = Field(
        "scripted",
        description="Who answers: `scripted` (prepared answers), `openai` (any endpoint compatible with it), "
        "`anthropic`, `azure`, or `replay` (the calls of earlier runs).",
    )
    name: str = Field("scripted", min_length=1, description="Model name sent to the provider, whatever was asked for.")
    base_url: str | None = Field(
        None,
        description="Endpoint of the provider; by default OPENAI_BASE_URL, ANTHROPIC_BASE_URL or "
        "AZURE_OPENAI_ENDPOINT, else the provider's own.",
    )
    api_version: str | None = Field(
        None, description="Azure: API version of a deployment's address; without it, its v1 API is used."
    )
    key_env: str | None = Field(
        None,
        description="Environment variable that holds the provider's key; by default OPENAI_API_KEY, ANTHROPIC_API_KEY "
        "or AZURE_OPENAI_API_KEY.",
    )
    key_file: PathText | None = Field(
        None, description="File that holds the key instead; must be readable by its owner only."
    )
    answers: PathText | None = Field(
        None, description="Folder of scripted answers, <framework>/<scenario>.yaml; by default images/*/answers/."
    )
    aliases: tuple[str, ...] = Field((), description="Other names by which frameworks may ask for this model.")
    mismatch: Literal["replace", "refuse", "keep"] = Field(
        "replace",
        description="What happens to a call for another model: `replace` sends this one's name, `refuse` is an error, "
        "`keep` sends the name that was asked for.",
    )
    sampling: Sampling = Field(default_factory=Sampling, description="Parameters pinned for all frameworks alike.")
    traffic: Traffic = Field(default_factory=Traffic, description="How the provider is treated.")
    prices: str | None = Field(
        None, description="Table of prices, relative to the project; by default config/prices.yaml, if there is one."
    )
    bodies: Literal["full", "digest", "off"] = Field(
        "full",
        description="What is kept of requests and answers: `full` (needed to replay), `digest`, or `off` (sizes only).",
    )
    redact: tuple[str, ...] = Field(
        (), description="Regular expressions (Python's); what they match is kept as [redacted]. Keys never are kept."
    )
    replay_mode: Literal["strict", "sequence"] = Field(
        "strict",
        description="How recorded calls are found: `strict` by the request's content, `sequence` by order alone.",
    )

    @field_validator("redact")
    @classmethod
    def _are_expressions(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            try:
                re.compile(value)
            except re.error as error:
                hint = "write a backslash before characters that mean something else, like \\( and \\?"
                raise HintedError(f"`{value}` is not a regular expression: {error}", hint) from error
        return values
