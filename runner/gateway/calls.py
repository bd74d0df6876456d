"""`llm/calls.jsonl`: one line per model call, written before the client sees the end of its answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import from_json

from runner.gateway.lines import append_line
from runner.gateway.session import Totals

GONE = 499
"""Status of a call whose framework had gone before a provider could be asked: nobody got it."""


class Call(BaseModel):
    """One model call: who asked, what for, what it took. What is not known is null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    time: str = Field(description="When the request arrived, UTC, ISO 8601.")
    run: str = Field(description="Id of the run.")
    step: str = Field(description="Name of the step.")
    index: int = Field(description="1-based position of the step.")
    attempt: int = Field(description="Number of the attempt, from 1.")
    n: int = Field(description="Number of the call within its attempt, from 1, by arrival.")
    provider: str = Field(description="Who answered, as in `model.provider`.")
    format: str = Field(description="Wire format of the call, like openai-chat; other if it was passed on unread.")
    path: str = Field(description="Path of the request.")
    method: str = Field(description="Method of the request.")
    stream: bool = Field(description="Whether the answer was asked for as a stream.")
    model_asked: str | None = Field(description="Model the framework asked for.")
    model_sent: str | None = Field(description="Model the provider was asked for; null if it was not asked.")
    model_used: str | None = Field(description="Model the provider says answered.")
    parameters: dict[str, JsonValue] = Field(description="Parameters of the request as the framework sent it.")
    pinned: dict[str, JsonValue] = Field(description="Parameters that were put in their place, as configured.")
    status: int = Field(description="HTTP status the framework got.")
    error: str | None = Field(description="Error given to the framework, in a sentence.")
    fault: Literal["framework", "provider", "runner"] | None = Field(description="Whose doing the error is.")
    tokens_in: int | None = Field(description="Tokens of the request, cached ones included.")
    tokens_out: int | None = Field(description="Tokens of the answer, reasoning included.")
    tokens_cached: int | None = Field(description="Tokens of the request that the provider had in its cache.")
    tokens_cache_written: int | None = Field(description="Tokens of the request that were newly put into its cache.")
    tokens_reasoning: int | None = Field(description="Tokens of the answer that are hidden reasoning.")
    usage_source: Literal["provider", "rule", "partial", "no answer", "unknown"] = Field(
        description="provider: stated by it; rule: counted by rule for a scripted answer; partial: the answer broke "
        "off, and this is what had been stated; no answer: an error reply, for which nothing is counted; unknown: an "
        "answer began and its usage was never stated."
    )
    waited_seconds: float = Field(description="Waiting for the provider: its limits, retries and pauses.")
    retries: int = Field(description="Further tries after the first.")
    statuses: tuple[int, ...] = Field(
        description="HTTP status of each try that failed and could be repeated; 0: no answer."
    )
    latency_first_byte_seconds: float | None = Field(description="From the request's arrival to the answer's start.")
    latency_seconds: float = Field(description="From the request's arrival to the answer's end.")
    request_bytes: int = Field(description="Size of the request's body.")
    response_bytes: int = Field(description="Size of the answer's body as the framework got it.")
    request_sha256: str | None = Field(description="Digest of the request's body, after redaction.")
    response_sha256: str | None = Field(description="Digest of the answer's body as kept, after redaction.")
    bodies: Literal["full", "digest", "off"] = Field(description="Whether both bodies stand in `bodies/`.")
    exceeded: str = Field(description="Budget the call was refused for, in a sentence; empty if none.")
    cost_usd: float | None = Field(description="Price of the call; null where no price is known.")
    cost_reason: str = Field(description="Why the price is null.")
    cost_source: str = Field("", description="Table of prices it is from, with version and digest; empty if none.")
    finish_reason: str | None = Field(description="Why the model stopped, in the provider's word.")
    client_gone: bool = Field(description="Whether the framework had gone before the answer's end.")


@dataclass(frozen=True, kw_only=True)
class CallsRead:
    """What a calls file holds."""

    calls: tuple[Call, ...]
    problems: tuple[str, ...]
    """Lines that are no calls, in words: a crash may cut the last one short."""


def append_call(path: Path, call: Call, *, sync: bool = True) -> None:
    """Add a call to the file, whole, whoever else writes to it.

    A line before it that a full disk cut short is ended first, so that only that one is lost.

    Args:
        path: the file.
        call: the line.
        sync: whether it has to be on the disk when this returns; if not, it outlives every process, but not the machine.

    Raises:
        OSError: if the disk does not take it.
    """
    append_line(path, call.model_dump_json(), sync=sync)


def read_calls(path: Path) -> CallsRead:
    """Read a calls file, also one that another version wrote; a file that does not exist holds no calls."""
    if not path.is_file():
        return CallsRead(calls=(), problems=())
    lines = path.read_bytes().split(b"\n")
    calls: list[Call] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            calls.append(_read_line(line))
        except ValueError:
            cut = " (cut short)" if number == len(lines) else ""
            problems.append(f"{path.name}:{number}: no call{cut}: {line[:60].decode('utf-8', 'replace')}")
    return CallsRead(calls=tuple(calls), problems=tuple(problems))


def totals(calls: Iterable[Call]) -> Totals:
    """Add up calls, in the order they ended.

    A sum is None as soon as one answer's usage is unknown. An error reply carries no answer, so nothing is missing
    there. An answer that broke off counts as far as its usage had been stated, and is counted in `partial_calls`.
    `last_error` is the error of the last call: one that was followed by an answer did not stop anybody. A call whose
    client went away gave no error to anybody.
    """
    every = list(calls)
    answered = [call for call in every if call.usage_source != "no answer"]
    heard = [call for call in every if not call.client_gone]
    last = heard[-1] if heard else None
    return Totals(
        api_calls=len(every),
        tokens_in=_sum(_stated(call, call.tokens_in) for call in answered),
        tokens_out=_sum(_stated(call, call.tokens_out) for call in answered),
        tokens_cached=_sum(_stated(call, call.tokens_cached) for call in answered),
        tokens_reasoning=_sum(_stated(call, call.tokens_reasoning) for call in answered),
        cost_usd=_cost(call.cost_usd for call in answered),
        cost_reason=next((call.cost_reason or "not stated" for call in answered if call.cost_usd is None), ""),
        cost_source="; ".join(dict.fromkeys(call.cost_source for call in answered if call.cost_source)),
        failed_calls=sum(call.error is not None for call in every),
        unmetered_calls=sum(call.usage_source == "unknown" for call in every),
        partial_calls=sum(call.usage_source == "partial" for call in every),
        call_seconds=round(sum((seconds_in(call) for call in every), 0.0), 6),
        waiting_seconds=round(sum((call.waited_seconds for call in every), 0.0), 6),
        exceeded=next((call.exceeded for call in every if call.exceeded), ""),
        last_error=(last.error or "") if last is not None else "",
        last_error_fault=(last.fault or "") if last is not None else "",
        replay_error=next(
            (call.error or "" for call in every if call.provider == "replay" and call.fault == "runner"), ""
        ),
    )


def seconds_in(call: Call) -> float:
    """Return the wall time of a call without waiting for the provider."""
    return max(0.0, call.latency_seconds - call.waited_seconds)


def _read_line(line: bytes) -> Call:
    """Read a call; members it does not know are left out, those that an older version had not are unknown.

    Raises:
        ValueError: if it is no call.
    """
    content = from_json(line)
    if not isinstance(content, dict) or not content.keys() >= _ALWAYS:
        raise ValueError("no call")
    known = {name: value for name, value in content.items() if name in Call.model_fields}
    return Call.model_validate(_BEFORE | known)


_ALWAYS = frozenset({"version", "run", "step", "attempt", "n", "status", "usage_source"})
"""What every version wrote of every call."""
_BEFORE: dict[str, object] = {
    "format": "other",
    "pinned": {},
    "tokens_cache_written": None,
    "waited_seconds": 0.0,
    "retries": 0,
    "statuses": [],
    "bodies": "off",
    "exceeded": "",
}
"""What stands for members that the first version had not."""


def _stated(call: Call, tokens: int | None) -> int | None:
    """Return a number of tokens; of an answer that broke off, 0 if nothing had been stated."""
    return tokens or 0 if call.usage_source == "partial" else tokens


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _cost(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum((value for value in known if value is not None), 0.0)
